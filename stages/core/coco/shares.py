"""Coordinates that are shares of an image's sides, where pixels are expected."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from stages.core.coco.entries import Annotation
from stages.core.coco.masks import in_shares

log = logging.getLogger(__name__)


class Shares(NamedTuple):
    """Whether the polygons, and the boxes, of a file are shares (0 to 1) of their image's sides."""

    polygons: bool
    boxes: bool

    def scale(self, height: int, width: int) -> tuple[float, float]:
        """A unit of the file's boxes in pixels, (x, y)."""
        return (float(width), float(height)) if self.boxes else (1.0, 1.0)


def find_shares(annotations: Sequence[Annotation], source: str) -> Shares:
    """What all annotations of a file are in; shares are counted in the log. `source` names the file."""
    polygons = in_shares(annotation.segmentation for annotation in annotations)
    boxes = [annotation.bbox for annotation in annotations if annotation.bbox is not None]
    within = all(max(box) <= 1 and min(box) >= 0 for box in boxes)
    in_boxes = within and any(number % 1 > 0 for box in boxes for number in box) if boxes else polygons
    for name, found, count in (("polygons", polygons, len(annotations)), ("boxes", in_boxes, len(boxes))):
        if found and count:
            log.warning(
                "%s: the %s of all %d annotations lie within 0 to 1: read as shares of the sides of their images",
                source, name, count,
            )  # fmt: skip
    return Shares(polygons, in_boxes)
