"""Checks one image and makes its records for the three artifacts."""

import contextlib
import functools
import hashlib
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.points import Points
from stages.core.artifacts.regions import packed_fields
from stages.core.images.loading import decode_rgb, image_size
from stages.images.centers import mask_centers, read_points
from stages.images.dataset import Annotations, DataSet, make_annotations
from stages.images.tiling import Tiles, read_encoded
from stages.ops.windows import WindowedMask, regions_of

LARGE = 1 << 24  # pixels; larger images are decoded and mapped one at a time, whatever the number of threads
ONE_LARGE = threading.Lock()
# The ground truth is made when it is asked for, where its map of atoms is large.
Records = tuple[ImageRecord, Callable[[], GroundTruth], Points | None]


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
    encoded, name = read_encoded(data, image)
    height, width = image_size(encoded, name)
    large = height * width > LARGE
    if verify == "full" and not isinstance(data, Tiles):  # tiles were decoded to be cut
        with ONE_LARGE if large else contextlib.nullcontext():
            decode_rgb(encoded, name)
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
        offset=data.offset(image) if isinstance(data, Tiles) else None,
    )
    annotated = functools.partial(ground_truth_record, image, ground_truth, height, width)
    return record, annotated if large else _made(annotated()), _points(data, image, ground_truth, height, width)


def _made(record: GroundTruth) -> Callable[[], GroundTruth]:
    return lambda: record


def ground_truth_record(image: str, ground_truth: Annotations | None, height: int, width: int) -> GroundTruth:
    """The instances as atoms and membership; void pixels are bits over the same atoms. None: not annotated."""
    known = make_annotations([], [], [], shape=(height, width)) if ground_truth is None else ground_truth
    layers = known.windows if known.void is None else [*known.windows, WindowedMask.of(known.void)]
    fields = packed_fields(regions_of(layers, height, width))
    rows = fields["membership"]
    return GroundTruth(
        image=image,
        annotated=ground_truth is not None,
        **fields | {"membership": rows[: len(known.windows)]},
        void=rows[len(known.windows) :].ravel(),
        classes=known.classes,
        crowd=known.crowd,
        difficult=known.difficult,
        annotation_ids=known.annotation_ids,
    )


def no_points(image: str) -> Points:
    """The record of an image without known points."""
    return Points(image=image, points=np.zeros((0, 2), np.int32), classes=np.zeros(0, np.int32))


def _points(data: DataSet, image: str, ground_truth: Annotations | None, height: int, width: int) -> Points | None:
    if isinstance(data, Tiles):
        labels = data.labels(image)
        return None if labels is None else Points(image=image, points=labels[0], classes=labels[1])
    if data.points is not None:
        labels = read_points(data.points, image, height, width)
        return None if labels is None else Points(image=image, points=labels[0], classes=labels[1])
    if ground_truth is None:
        return no_points(image)
    points, classes = mask_centers(ground_truth)
    return Points(image=image, points=points, classes=classes)
