"""Checks one image and makes its records for the three artifacts."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.points import Points
from stages.core.artifacts.regions import packed_fields
from stages.core.images.loading import decode_rgb, image_size, read_bytes
from stages.images.centers import mask_centers, read_points
from stages.images.dataset import Annotations, DataSet, make_annotations
from stages.ops.regions import Regions

Records = tuple[ImageRecord, GroundTruth, Points | None]


class Tags(NamedTuple):
    """What is known of an image: `classes` (classes,) bool that it is tagged with, and whether somebody looked."""

    classes: np.ndarray
    looked_at: bool

    @property
    def negative(self) -> bool:
        """Whether the image is known to show none of the classes."""
        return self.looked_at and not self.classes.any()


def examine(data: DataSet, image: str, tags: Tags, verify: str) -> Records:
    """Check one image and make its records; no Points where there are point files, but none for this image.

    `verify` is "full" (decode the pixels) or "header" (read the size only).
    Raises ValueError or FileNotFoundError naming the file that cannot be used.
    """
    path = data.path(image)
    file = Path(data.root) / path
    name, encoded = (str(file), read_bytes(file)) if path else (f"image {image!r}", data.embedded(image))
    height, width = decode_rgb(encoded, name).shape[:2] if verify == "full" else image_size(encoded, name)
    ground_truth = data.ground_truth(image, height, width)
    record = ImageRecord(
        image=image,
        path=path,
        encoded=np.zeros(0, np.uint8) if path else np.frombuffer(encoded, np.uint8),
        height=height,
        width=width,
        file_size=len(encoded),
        digest=hashlib.sha256(encoded).hexdigest(),
        tags=tags.classes,
        looked_at=tags.looked_at,
    )
    return (
        record,
        ground_truth_record(image, ground_truth, height, width),
        _points(data, image, ground_truth, height, width),
    )


def ground_truth_record(image: str, ground_truth: Annotations | None, height: int, width: int) -> GroundTruth:
    """The instances as atoms and membership; void pixels are bits over the same atoms. None: not annotated."""
    known = make_annotations([], [], [], shape=(height, width)) if ground_truth is None else ground_truth
    layers = known.masks if known.void is None else np.concatenate([known.masks, known.void[None]])
    fields = packed_fields(Regions.from_masks(layers))
    rows = fields["membership"]
    return GroundTruth(
        image=image,
        annotated=ground_truth is not None,
        **fields | {"membership": rows[: len(known.masks)]},
        void=rows[len(known.masks) :].ravel(),
        classes=known.classes,
        crowd=known.crowd,
        difficult=known.difficult,
        annotation_ids=known.annotation_ids,
    )


def no_points(image: str) -> Points:
    """The record of an image without known points."""
    return Points(image=image, points=np.zeros((0, 2), np.int32), classes=np.zeros(0, np.int32))


def _points(data: DataSet, image: str, ground_truth: Annotations | None, height: int, width: int) -> Points | None:
    if data.points is not None:
        labels = read_points(data.points, image, height, width)
        return None if labels is None else Points(image=image, points=labels[0], classes=labels[1])
    if ground_truth is None:
        return no_points(image)
    points, classes = mask_centers(ground_truth)
    return Points(image=image, points=points, classes=classes)
