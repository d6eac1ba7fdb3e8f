"""Boxes (N, 4) as (x0, y0, x1, y1), NumPy or torch.

House boxes are half-open, in pixels: x1 and y1 lie one past the last pixel. The official code of CIM treats such boxes
in places as if they ended on their last pixel; `inclusive=True` gives that arithmetic.
"""

from stages.ops import arrays
from stages.ops.arrays import Array


def areas(boxes: Array, *, inclusive: bool = False) -> Array:
    """Area of each box (N,) float64; zero where the box ends before it starts.

    Args:
        boxes: (N, 4).
        inclusive: x1, y1 are the last pixel, so both sides count one more.
    """
    _require_boxes(boxes)
    sides = arrays.as_float64(boxes[:, 2:]) - arrays.as_float64(boxes[:, :2]) + float(inclusive)
    return sides.clip(min=0).prod(1)


def iou(boxes: Array, others: Array | None = None, *, inclusive: bool = False) -> Array:
    """Intersection over union (N, M) float32 with `others` (default: with themselves); 0 where both are empty.

    Args:
        boxes: (N, 4).
        others: (M, 4).
        inclusive: sides count one more pixel (CIM's box suppression at test time, which is fed half-open boxes).
    """
    others = boxes if others is None else others
    ours, theirs = areas(boxes, inclusive=inclusive), areas(others, inclusive=inclusive)
    sides = []
    for start, end in ((0, 2), (1, 3)):
        low, high = (
            arrays.pairwise_max(boxes[:, start], others[:, start]),
            arrays.pairwise_min(boxes[:, end], others[:, end]),
        )
        sides.append((high - low + float(inclusive)).clip(min=0))
    common = sides[0] * sides[1]
    union = ours[:, None] + theirs[None] - common
    return arrays.as_float32(common / arrays.where(union > 0, union, 1))


def clip(boxes: Array, height: int, width: int, *, inclusive: bool = False) -> Array:
    """Boxes cut to an image of the given size, in their own type.

    Args:
        boxes: (N, 4).
        height: of the image.
        width: of the image.
        inclusive: limit x to [0, width - 1] and y to [0, height - 1], as the official code of CIM clips its half-open
            boxes: those that touch the right or bottom border lose a pixel.
    """
    _require_boxes(boxes)
    right, bottom = width - int(inclusive), height - int(inclusive)
    limits = (right, bottom, right, bottom)
    return arrays.stack([boxes[:, axis].clip(0, limit) for axis, limit in enumerate(limits)], 1)


def scale(boxes: Array, y: float, x: float) -> Array:
    """Boxes after resizing the image by the factors y (height) and x (width), float32."""
    _require_boxes(boxes)
    return arrays.stack([arrays.as_float32(boxes[:, axis] * factor) for axis, factor in enumerate((x, y, x, y))], 1)


def flip(boxes: Array, width: int, *, inclusive: bool = False) -> Array:
    """Boxes in the mirrored image (left and right exchanged), in their own type.

    Args:
        boxes: (N, 4).
        width: of the image.
        inclusive: x0' = width - x1 - 1 and x1' = width - x0 - 1, as the official code of CIM mirrors its half-open
            boxes: they come out one pixel too far left. Otherwise x0' = width - x1 and x1' = width - x0.
    """
    _require_boxes(boxes)
    edge = width - int(inclusive)
    return arrays.stack([edge - boxes[:, 2], boxes[:, 1], edge - boxes[:, 0], boxes[:, 3]], 1)


def _require_boxes(boxes: Array) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes have shape {tuple(boxes.shape)}, expected (boxes, 4) as (x0, y0, x1, y1)")
