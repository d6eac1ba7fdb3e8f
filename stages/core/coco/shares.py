"""Coordinates that are shares of an image's sides, where pixels are expected."""

from collections.abc import Sequence
from typing import NamedTuple

from stages.core.coco.entries import Annotation
from stages.core.coco.masks import in_shares


class Shares(NamedTuple):
    """Whether the polygons, and the boxes, of a file are shares (0 to 1) of their image's sides."""

    polygons: bool
    boxes: bool

    def __str__(self) -> str:
        """What is in shares, for messages."""
        return " and ".join(name for name in self._fields if getattr(self, name))

    def scale(self, height: int, width: int) -> tuple[float, float]:
        """A unit of the file's boxes in pixels, (x, y)."""
        return (float(width), float(height)) if self.boxes else (1.0, 1.0)


def find_shares(annotations: Sequence[Annotation]) -> Shares:
    """Whether all polygons, and all boxes, of a file lie within 0 to 1 and some have fractions.

    Where no annotation has a box, boxes and areas are in what the polygons are in.
    """
    polygons = in_shares(annotation.segmentation for annotation in annotations)
    boxes = [annotation.bbox for annotation in annotations if annotation.bbox is not None]
    within = all(max(box) <= 1 and min(box) >= 0 for box in boxes)
    return Shares(polygons, within and any(number % 1 > 0 for box in boxes for number in box) if boxes else polygons)
