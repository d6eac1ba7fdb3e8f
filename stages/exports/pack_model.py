"""Step: a finished network in one folder, with all that it takes to use it elsewhere and to know what it is."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stages.core.artifacts.files import whole_file, write_json, write_text
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.metrics import read_metrics
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import read
from stages.core.networks.weights import read_metadata, weights_digest
from stages.core.workflow import step
from stages.exports.model_card import Facts, model_card
from stages.exports.settings import PackSettings

HEAD = """\
# Segments new images with the weights beside this file:
#   TAGMASK_MODEL=folder TAGMASK_IMAGES=folder snakemake segment -c2 --configfile folder/segment.yaml
"""


def pack_model(
    *,
    weights: Path,
    images: Path,
    proposals: Path | None,
    metrics: list[Path],
    output_weights: Path,
    output_card: Path,
    output_metrics: Path,
    output_segment: Path,
    settings: PackSettings,
    semantics: Path | None = None,
    output_semantics: Path | None = None,
) -> None:
    """Copy the weights; write the model card, the metrics of all splits, and the overlay that segments new images.

    `images` and `proposals` are those of the training split, `metrics` the files of `settings.splits` in their order.
    A run that chooses among no proposals has none. `semantics` are the weights of the network whose maps rank them,
    copied to `output_semantics`; None: nothing of that kind does. The outputs stand in one folder.

    Raises ValueError for weights of another step than the run's or of other classes than the images, and for metrics
    of another run.
    """
    metadata = read_metadata(weights)
    with read(images, ImageRecord) as listing:
        _check(weights, metadata, listing.header["classes"], settings)
        facts = Facts(
            settings=settings,
            metadata=metadata,
            digest=weights_digest(weights),
            images=listing.header,
            tags=np.stack([listing.field(i, "tags") for i in range(len(listing))]),
            proposals=_header(proposals),
        )
    measured = {split: _measured(path, split, settings) for split, path in zip(settings.splits, metrics, strict=True)}
    overlay = {**settings.overlay, "images": {**settings.overlay["images"], "classes": metadata["classes"]}}
    copies = [(weights, output_weights), (semantics, output_semantics)]
    for source, target in copies:
        if source is not None and target is not None:
            with whole_file(target) as unfinished:
                shutil.copyfile(source, unfinished)
    write_json(output_metrics, measured)
    write_text(output_segment, HEAD + yaml.safe_dump(overlay, sort_keys=False, allow_unicode=True))
    write_text(output_card, model_card(facts, measured))


def _header(proposals: Path | None) -> dict[str, Any] | None:
    if proposals is None:
        return None
    with read(proposals, Proposals) as candidates:
        return candidates.header


def _check(weights: Path, metadata: dict[str, Any], classes: list[str], settings: PackSettings) -> None:
    if metadata.get("step") != settings.trained_by:
        raise ValueError(
            f"{weights} was written by {metadata.get('step')!r}, not by {settings.trained_by}; give the weights of "
            f"{settings.run}"
        )
    if metadata["classes"] != classes:
        raise ValueError(
            f"{weights} knows classes {metadata['classes']}, the training images have {classes}; train again"
        )


def _measured(path: Path, split: str, settings: PackSettings) -> dict[str, Any]:
    found = read_metrics(path, also=("n_instances",))
    if (found.get("run"), found.get("split")) != (settings.run, split):
        raise ValueError(
            f"{path} is of run and split {(found.get('run'), found.get('split'))}, expected {(settings.run, split)}; "
            "evaluate them again"
        )
    return found


if __name__ == "__main__":
    step.run(pack_model)
