"""What a trained network depends on, as one digest: a checkpoint of anything else is not gone on from."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from stages.core.config.section import Section
from stages.core.networks.weights import weights_digest
from stages.core.workflow.digest import code_digest


def training_identity(module: str, settings: Section, *, inputs: Mapping[str, str], weights: Path | None) -> str:
    """Digest of a step's code, its settings, its inputs' fingerprints by name, and the weights that it starts from.

    `weights` is the file that the backbone starts from, taken by content; None where there is none.
    """
    parts = {
        "code": code_digest(module),
        "settings": settings.canonical(),
        "inputs": dict(inputs),
        "weights": None if weights is None else weights_digest(weights),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
