"""Holds masks against what their own entries say of them, a box or an area."""

import logging

import numpy as np

from stages.core.coco.entries import Annotation
from stages.core.workflow.tally import Tally

log = logging.getLogger(__name__)
SAME = 0.5  # IoU of boxes, and ratio of areas, from which on both are of one object
WIDER = np.array([-1.0, -1.0, 1.0, 1.0])  # pixels that a box of pixels and one of polygons may differ on each side
POINT = 4.0  # pixels that an entry may say of an object that fills no whole pixel

Box = tuple[float, float, float, float]


class Agreement:
    """Counts the masks of a file that are not what their entries say. May be asked from several threads."""

    def __init__(self, source: str) -> None:
        """`source` names the file in messages."""
        self._source = source
        self._masks = Tally()
        self._unknown: list[str] = []

    def see(self, annotation: Annotation, mask: np.ndarray, *, scale: tuple[float, float]) -> None:
        """Compare a mask (height, width) bool with its entry; `scale` is a unit of its bbox in pixels (x, y)."""
        found = difference(annotation, mask, scale=scale)
        self._masks.see(None if found is None else f"{annotation.label}: {found}")

    def see_none(self, annotation: Annotation) -> None:
        """Count an entry that should have a mask and has none."""
        self._masks.see(f"{annotation.label}: it has no mask in `segmentation`")

    def see_unknown(self, image: str) -> None:
        """Count an image whose masks are not known, as an entry has a box and no mask."""
        self._unknown.append(image)

    def conclude(self) -> None:
        """Say what was found. Raises ValueError where more than half of the masks are odd."""
        if self._unknown:
            log.warning(
                "%s: %d images have entries without a mask; their masks count as not known (first: %s)",
                self._source, len(self._unknown), min(self._unknown),
            )  # fmt: skip
        self._masks.conclude(
            f"masks of {self._source} are not what their entries say",
            "mend the masks, or what the entries say of them",
        )


def difference(annotation: Annotation, mask: np.ndarray, *, scale: tuple[float, float]) -> str | None:
    """What a mask (height, width) bool has other than its entry says, and why that may be; None where they agree.

    The box decides where the entry has one, else the area; one or no pixel needs an entry that says so. An area beside
    a box that agrees is not asked, since many programs write the area of the box, or nothing that means anything.
    """
    found, pixels = box_of(mask), int(np.count_nonzero(mask))
    said = _said_box(annotation, scale)
    if said is not None:
        if (pixels <= 1 and (said[2] - said[0]) * (said[3] - said[1]) <= POINT) or _alike(found, said):
            return None
        return (
            f"its mask has {_count(pixels)} in the box {_text(found)}, but bbox says {_text(said)} {_why(mask, said)}"
        )
    if not annotation.area:
        return f"its mask has {_count(pixels)}" if pixels <= 1 else None
    area = annotation.area * (scale[0] * scale[1] if annotation.area <= 1 else 1)
    ratio = (pixels + POINT) / (area + POINT)
    return None if SAME <= ratio <= 1 / SAME else f"its mask has {_count(pixels)}, but area says {area:g}"


def box_of(mask: np.ndarray) -> Box:
    """The tight box (x0, y0, x1, y1), half-open, of a mask (height, width) bool; zeros where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _said_box(annotation: Annotation, scale: tuple[float, float]) -> Box | None:
    """The corners that the entry gives; None without a bbox, or with one of zeros that stands for none."""
    if annotation.bbox is None or annotation.bbox[2:] == (0, 0):
        return None
    x, y, width, height = annotation.bbox
    return x * scale[0], y * scale[1], (x + width) * scale[0], (y + height) * scale[1]


def _why(mask: np.ndarray, said: Box) -> str:
    """What may have gone wrong, so far as it can be told."""
    height, width = mask.shape
    found = box_of(mask)
    x0, y0, x1, y1 = said
    if np.count_nonzero(mask) <= 1:
        return "(are its coordinates shares of the sides, or of another image?)"
    if _alike(found, (x0, y0, x1 - x0, y1 - y0)):
        return "(its bbox seems to be x0, y0, x1, y1; expected x, y, width, height)"
    if _alike((found[1], found[0], found[3], found[2]), said):
        return "(x and y seem to be swapped)"
    if _alike(box_of(np.ascontiguousarray(mask.T).reshape(height, width)), said):
        return "(its runs seem to go along the rows; expected down the columns)"
    factor = np.sqrt((x1 - x0) * (y1 - y0) / ((found[2] - found[0]) * (found[3] - found[1])))
    if _alike((found[0] * factor, found[1] * factor, found[2] * factor, found[3] * factor), said):
        return f"(one of them seems to be of the image at {factor:.3g} or {1 / factor:.3g} times its size)"
    return "(the mask may be of another entry or image)"


def _alike(first: Box, second: Box) -> bool:
    """Whether two boxes have an IoU of SAME or more, each one pixel wider on all sides."""
    a, b = np.array(first) + WIDER, np.array(second) + WIDER
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return bool(shared >= SAME * ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


def _count(pixels: int) -> str:
    return "1 pixel" if pixels == 1 else f"{pixels} pixels"


def _text(box: Box) -> str:
    return " ".join(f"{number:g}" for number in box)
