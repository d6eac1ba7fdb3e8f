"""Connected components of masks, NumPy or torch (tensors make the trip to the host and back)."""

import cv2
import numpy as np

from stages.ops import arrays, partition
from stages.ops.arrays import Array, is_tensor


def label_components(masks: Array, *, connectivity: int, min_area: int = 1) -> tuple[Array, Array]:
    """Number the connected components of each mask.

    Args:
        masks: (..., H, W) bool; each mask is labelled by itself.
        connectivity: 4 (pixels that share a side) or 8 (a side or a corner).
        min_area: smaller components, in pixels, become background.

    Returns:
        labels: (..., H, W) int32; 0 is background, components are 1, 2, ... by first pixel in row-major order.
        counts: (...,) int64, components of each mask; 0 for an empty mask.
    """
    if masks.ndim < 2 or not arrays.is_bool(masks):
        raise ValueError(
            f"components: masks are {masks.dtype} {tuple(masks.shape)}, expected bool (..., height, width)"
        )
    if connectivity not in (4, 8):
        raise ValueError(f"components: connectivity is {connectivity}, expected 4 or 8")
    if is_tensor(masks):
        import torch

        found = label_components(masks.cpu().numpy(), connectivity=connectivity, min_area=min_area)
        labels, counts = (torch.as_tensor(part, device=masks.device) for part in found)
        return labels, counts
    *outer, height, width = masks.shape
    flat = masks.reshape(int(np.prod(outer)), height, width)
    labels, counts = np.zeros(flat.shape, np.int32), np.zeros(len(flat), np.int64)
    for number, mask in enumerate(flat if flat.size else ()):
        labels[number], counts[number] = _label(mask, connectivity, min_area)
    return labels.reshape(masks.shape), counts.reshape(outer)


def measure_components(labels: Array, count: int) -> tuple[Array, Array, Array]:
    """Area, box and centroid of each component of one labelled map.

    Args:
        labels: (H, W) int32 as `label_components` gives them.
        count: number of components.

    Returns:
        areas (count,) int64 pixels; boxes (count, 4) int32, half-open; centroids (count, 2) float64 (y, x), the mean of
        pixel indices.
    """
    flat = arrays.as_index(labels).reshape(-1)
    width = labels.shape[1]
    places = arrays.arange(len(flat), flat)
    areas = arrays.total(arrays.ones_like(places), flat, count + 1)[1:]
    sums = [arrays.total(values, flat, count + 1)[1:] for values in (places // width, places % width)]
    centroids = arrays.stack([arrays.as_float64(values) / areas for values in sums], 1)
    return areas, partition.bounds(labels, count + 1)[1:], centroids


def _label(mask: np.ndarray, connectivity: int, min_area: int) -> tuple[np.ndarray, int]:
    """OpenCV numbers components in the order of its block scan, which differs between versions: number them anew."""
    total, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)
    flat = labels.reshape(-1)
    first = np.full(total, len(flat))
    np.minimum.at(first, flat, np.arange(len(flat)))
    kept = np.bincount(flat, minlength=total) >= min_area
    kept[0] = False
    ordered = np.argsort(first)
    ordered = ordered[kept[ordered]]
    numbers = np.zeros(total, np.int32)
    numbers[ordered] = np.arange(1, len(ordered) + 1)
    return numbers[labels], len(ordered)
