"""Fingerprint of everything that a training depends on: a killed training resumes only where it matches."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from stages.core.networks.weights import weights_digest
from stages.core.workflow.digest import code_digest


def training_identity(
    module: str, settings: str, *, inputs: Mapping[str, str], weights: Mapping[str, Path | None]
) -> str:
    """Digest of a step's code, canonical settings, inputs' fingerprints by name, and the weights that it starts from.

    `weights` are the files that parts of the network start from, by the part's name, taken by content; None where a
    part starts from no file.
    """
    parts = {
        "code": code_digest(module),
        "settings": settings,
        "inputs": dict(inputs),
        "weights": {part: None if path is None else weights_digest(path) for part, path in weights.items()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
