"""Draws what an artifact holds of one image."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.records import Record
from stages.core.artifacts.storage import Artifact, read
from stages.core.images.loading import load_rgb
from stages.inspection.lens.artifacts import opened
from stages.inspection.lens.neighbours import find_images, find_source, ground_truth_beside
from stages.inspection.lens.painted import Panel, View
from stages.inspection.lens.panels import PAINTED, Brush
from stages.ops.resize import resize, scaled_size


def panels_of(
    artifact: Artifact[Any], position: int, *, images: Path | None, brush: Brush, longer_side: int
) -> list[Panel]:
    """The painted panels of one image of an artifact.

    Args:
        artifact: open, of any kind.
        position: of the image in it.
        images: the list of images that it was made from; None: it is found in the results folder.
        brush: how panels are painted.
        longer_side: pixels of each panel's longer side.

    Raises:
        ValueError: the images, or what cluster labels were made from, are not found, or do not fit.
        MissingImage: the list of images lacks the image.
    """
    record = artifact[position]
    listing = images or (artifact.path if artifact.kind == ImageRecord.KIND else find_images(artifact))
    with read(listing, ImageRecord) as listed:
        image, classes = listed.find(record.image), listed.header["classes"]
        expected = artifact.header.get("classes", classes)
        if expected != classes:
            raise ValueError(
                f"{artifact.path} has the classes {expected}, but {listing} has {classes}; give its images"
            )
        full = load_rgb(image, listed.header["root"])
    _check_size(artifact, record, full.shape[:2], listing)
    view = View(
        rgb=resize(full, *scaled_size(*full.shape[:2], longer_side)),
        shape=full.shape[:2],
        tags=image.tags,
        classes=classes,
        settings=brush,  # type: ignore[arg-type]
        ground_truth=_ground_truth(listing, record.image, full.shape[:2]),
        records=_records(artifact, record),
    )
    return PAINTED[artifact.kind](view, record, artifact.header)


def _check_size(artifact: Artifact[Any], record: Record, shape: tuple[int, ...], listing: Path) -> None:
    """Maps that have the image's size must have this image's."""
    for name in ("atoms", "labels"):
        found = getattr(record, name, None)
        if found is not None and found.shape != shape:
            raise ValueError(
                f"{artifact.path}: {name} of {record.image!r} are {found.shape[0]}x{found.shape[1]}, but the image of "
                f"{listing} is {shape[0]}x{shape[1]} (height x width); give the images that it was made from"
            )


def _records(artifact: Artifact[Any], record: Record) -> dict[str, Record]:
    """The record by its kind, and what it cannot be drawn without."""
    found = {artifact.kind: record}
    if artifact.kind == ClusterLabels.KIND:
        with opened(find_source(artifact, Proposals.KIND)) as proposals:
            found[Proposals.KIND] = proposals.find(record.image)
    return found


def _ground_truth(listing: Path, image: str, shape: tuple[int, ...]) -> GroundTruth:
    """The annotated instances beside the images, by which predictions are judged; else a record that knows none."""
    path = ground_truth_beside(listing)
    if path is not None:
        with contextlib.suppress(KeyError), read(path, GroundTruth) as truth:
            return truth.find(image)
    none = np.zeros(0, np.int32)
    return GroundTruth(
        image=image,
        annotated=False,
        atoms=np.zeros(shape, np.uint32),
        membership=np.zeros((0, 1), np.uint8),
        atom_count=1,
        void=np.zeros(0, np.uint8),
        classes=none,
        crowd=none.astype(bool),
        difficult=none.astype(bool),
        annotation_ids=none.astype(np.int64),
    )
