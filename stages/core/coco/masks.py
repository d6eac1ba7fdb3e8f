"""Masks of `segmentation`: polygons, run lengths and rows of pixels, checked before C code sees them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from stages.core.coco.json_files import shown
from stages.core.coco.values import integer
from stages.ops import rle

FARTHEST = 8  # sides of the image: corners beyond are no mistake of an annotator
DEPTH = 3  # lists around a polygon at most: polygons of points, and OpenCV's contours
EXPECTED = "expected polygons [[x, y, x, y, ...]], an RLE {size, counts}, or rows of 0 and 1"


def decode(segmentation: Any, height: int, width: int, *, shares: bool) -> np.ndarray:
    """The mask (height, width) bool of a segmentation.

    Polygons may be a list of them or a single one, flat or as points [x, y] or {x, y}; they are filled by COCO's own
    rule and joined. Run lengths may be compressed or not. Rows of 0 and 1, or of false and true, are the mask itself.
    Nothing ([], null) is an empty mask.

    Args:
        segmentation: as JSON has it.
        height: of the image, in pixels.
        width: of the image, in pixels.
        shares: coordinates of polygons are shares of the image's sides.

    Raises:
        ValueError: the segmentation is of another form, of another image's size, or not finite.
    """
    if isinstance(segmentation, Mapping):
        return rle.decode([_run_lengths(segmentation)], height, width)[0]
    if segmentation is not None and not isinstance(segmentation, list):
        raise ValueError(f"found {shown(segmentation)}, {EXPECTED}")
    if not segmentation:
        return np.zeros((height, width), bool)
    bitmap = None if shares else _bitmap(segmentation, height, width)
    if bitmap is not None:
        return bitmap
    sides = np.array([width, height])
    outlines = [outline * sides if shares else outline for outline in polygons(segmentation)]
    return _filled(outlines, height, width)


def polygons(segmentation: list[Any]) -> list[np.ndarray]:
    """The polygons of a segmentation, each (corners, 2) float64 as (x, y). Raises ValueError for other forms."""
    return _polygons(segmentation, DEPTH)


def in_shares(segmentations: Iterable[Any]) -> bool:
    """Whether all polygons lie within 0 to 1 and some have fractions: they are shares of the image's sides.

    The first coordinate beyond 1 ends the search, so that a file in pixels costs nothing. What is no polygon is left to
    `decode`.
    """
    fractions = False
    for segmentation in segmentations:
        if not isinstance(segmentation, list) or not segmentation:
            continue
        try:
            outlines = polygons(segmentation)
        except ValueError:
            return False
        if any(outline.min() < 0 or outline.max() > 1 for outline in outlines):
            return False
        fractions = fractions or any((outline % 1 > 0).any() for outline in outlines)
    return fractions


def _run_lengths(segmentation: Mapping[str, Any]) -> dict[str, Any]:
    """An RLE whose numbers are whole numbers, so far as they can be read as such; `rle.decode` checks the rest."""
    encoding = dict(segmentation)
    for key in ("size", "counts"):
        values = encoding.get(key)
        if isinstance(values, list) and {*map(type, values)} != {int}:
            numbers = [integer(value) for value in values]
            if None in numbers:
                wrong = values[numbers.index(None)]
                raise ValueError(f"{key} of its RLE has {shown(wrong)}, expected whole numbers")
            encoding[key] = numbers
    return encoding


def _bitmap(rows: list[Any], height: int, width: int) -> np.ndarray | None:
    """The mask that rows of pixels are; None where the lists are no rows of two values, 0 among them."""
    if len(rows) < 2 or not all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows) or not rows[0]:
        return None
    fits = (len(rows), len(rows[0])) == (height, width)
    if not {type(value) for row in rows for value in row} <= {bool, int, float} or (len(rows[0]) == 2 and not fits):
        return None
    try:
        pixels = np.array(rows, np.float64)
    except OverflowError:
        return None
    # A mask of uint8 may have 255 for true.
    if not np.isin(pixels, [0, pixels.max() if fits else 1]).all():
        return None
    if not fits:
        raise ValueError(
            f"found {len(rows)} rows of {len(rows[0])} values 0 and 1, but its image is {height} rows of {width} pixels"
        )
    return pixels > 0


def _filled(outlines: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """The union of polygons (corners, 2), filled by COCO's own rule."""
    for outline in outlines:
        if len(outline) < 3:
            raise ValueError(f"a polygon has fewer than three corners: {outline.ravel().tolist()}")
        far = np.abs(outline) > FARTHEST * max(height, width)
        if far.any():
            raise ValueError(f"a polygon has a coordinate {outline[far][0]:g}, far from the image of {height}x{width}")
    if not outlines:
        return np.zeros((height, width), bool)
    # A list of four numbers would be a box to pycocotools; three corners are six.
    encodings = coco_mask.frPyObjects([outline.ravel().tolist() for outline in outlines], height, width)
    return rle.decode([coco_mask.merge(encodings)], height, width)[0]


def _polygons(value: list[Any], depth: int) -> list[np.ndarray]:
    if not any(isinstance(part, list | dict) for part in value):
        return [_pairs(value)]
    points = [_point(part) for part in value]
    if all(point is not None for point in points):
        return [_pairs([number for point in points for number in point or ()])]
    wrong = [part for part in value if not isinstance(part, list)]
    if wrong or depth == 0:
        raise ValueError(f"found {shown(wrong[0] if wrong else value)} in its lists, {EXPECTED}")
    return [outline for part in value if part for outline in _polygons(part, depth - 1)]


def _point(value: Any) -> list[Any] | None:
    """A point's x and y, [x, y], {x, y} or [[x, y]] as OpenCV's contours have them; None for anything else."""
    if isinstance(value, dict):
        return [value["x"], value["y"]] if {"x", "y"} <= value.keys() else None
    if not isinstance(value, list):
        return None
    if len(value) == 1 and isinstance(value[0], list):
        return _point(value[0]) if len(value[0]) == 2 else None
    return value if len(value) == 2 and not any(isinstance(part, list | dict) for part in value) else None


def _pairs(numbers: list[Any]) -> np.ndarray:
    """Corners (N, 2) float64 of x, y, x, y, ..., which may be text. Raises ValueError for what is no finite number."""
    try:
        values = np.array(numbers, np.float64)
        readable = bool not in {*map(type, numbers)} and np.isfinite(values).all()
    except (TypeError, ValueError, OverflowError):
        readable = False
    if not readable:
        raise ValueError(f"a polygon has {shown(next(filter(_is_wrong, numbers), numbers))}, expected finite numbers")
    if len(values) % 2:
        raise ValueError(f"a polygon has an odd number of coordinates ({len(values)}); {EXPECTED}")
    return values.reshape(-1, 2)


def _is_wrong(value: Any) -> bool:
    try:
        return isinstance(value, bool) or not np.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return True
