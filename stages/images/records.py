"""Checks one picture and makes its records for the three artifacts."""

import hashlib
from pathlib import Path

import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import Picture
from stages.core.artifacts.points import Points
from stages.core.artifacts.regions import packed_fields
from stages.core.images.pictures import decode_rgb, picture_size, read_bytes
from stages.images.centres import mask_centres, read_points
from stages.images.dataset import DataSet, Truth, make_truth
from stages.ops.regions import Regions

Records = tuple[Picture, GroundTruth, Points | None]


def examine(data: DataSet, picture: str, tags: np.ndarray, verify: str) -> Records:
    """Check one picture and make its records; no Points where there are point files, but none for this picture.

    `tags` is (classes,) bool; `verify` is "full" (decode the pixels) or "header" (read the size only).
    Raises ValueError or FileNotFoundError naming the file that cannot be used.
    """
    path = data.path(picture)
    file = Path(data.root) / path
    name, encoded = (str(file), read_bytes(file)) if path else (f"picture {picture!r}", data.embedded(picture))
    height, width = decode_rgb(encoded, name).shape[:2] if verify == "full" else picture_size(encoded, name)
    truth = data.truth(picture, height, width)
    record = Picture(
        picture=picture,
        path=path,
        encoded=np.zeros(0, np.uint8) if path else np.frombuffer(encoded, np.uint8),
        height=height,
        width=width,
        file_size=len(encoded),
        digest=hashlib.sha256(encoded).hexdigest(),
        tags=tags,
    )
    return record, truth_record(picture, truth, height, width), _points(data, picture, truth, height, width)


def truth_record(picture: str, truth: Truth | None, height: int, width: int) -> GroundTruth:
    """The instances as atoms and membership; void pixels are bits over the same atoms. None: not annotated."""
    known = make_truth([], [], [], shape=(height, width)) if truth is None else truth
    layers = known.masks if known.void is None else np.concatenate([known.masks, known.void[None]])
    fields = packed_fields(Regions.from_masks(layers))
    rows = fields["membership"]
    return GroundTruth(
        picture=picture,
        annotated=truth is not None,
        **fields | {"membership": rows[: len(known.masks)]},
        void=rows[len(known.masks) :].ravel(),
        classes=known.classes,
        crowd=known.crowd,
        difficult=known.difficult,
        annotation_ids=known.annotation_ids,
    )


def no_points(picture: str) -> Points:
    """The record of a picture without known points."""
    return Points(picture=picture, points=np.zeros((0, 2), np.int32), classes=np.zeros(0, np.int32))


def _points(data: DataSet, picture: str, truth: Truth | None, height: int, width: int) -> Points | None:
    if data.points is not None:
        labels = read_points(data.points, picture, height, width)
        return None if labels is None else Points(picture=picture, points=labels[0], classes=labels[1])
    if truth is None:
        return no_points(picture)
    points, classes = mask_centres(truth)
    return Points(picture=picture, points=points, classes=classes)
