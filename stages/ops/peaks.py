"""Local maxima of maps (..., H, W), NumPy or torch: the rules of PRM (used by CIM) and of BESTIE."""

import numpy as np

from stages.ops import arrays
from stages.ops.arrays import Array, is_tensor


def window_peaks(maps: Array, *, window: int) -> Array:
    """PRM's peaks, (..., H, W) bool: pixels that are the argmax of their window and not below the map's median.

    Of equal values in a window the first in row-major order is its argmax, so a plateau has a peak only where no
    pixel of it comes earlier in the window; beyond the border lies -inf. The median is the lower of the two middle
    values. Source: PRM (Zhou et al., CVPR 2018), peak stimulation with its median filter; CIM uses window 3.

    Args:
        maps: (..., H, W) float. Gradients do not pass; the answer is a mask.
        window: odd side of the window in map pixels.
    """
    _require_maps(maps, window)
    return _argmax_of_window(maps, window) & (maps >= lower_median(maps)[..., None, None])


def pooled_peaks(maps: Array, *, window: int) -> Array:
    """BESTIE's peaks, (..., H, W) bool: pixels equal to the maximum of their window, so all pixels of a flat top.

    Source: BESTIE (Kim et al., CVPR 2022), peak points with window 15; a zero map is one flat top, left to the
    threshold of `list_peaks`.

    Args:
        maps: (..., H, W) float.
        window: odd side of the window in map pixels; beyond the border lies -inf.
    """
    _require_maps(maps, window)
    if is_tensor(maps):
        from torch.nn import functional

        flat = maps.detach().reshape(-1, 1, *maps.shape[-2:])
        return (functional.max_pool2d(flat, window, 1, window // 2) == flat).reshape(maps.shape)
    from scipy import ndimage

    size = (1,) * (maps.ndim - 2) + (window, window)
    return ndimage.maximum_filter(maps, size=size, mode="constant", cval=-np.inf) == maps


def lower_median(maps: Array) -> Array:
    """Median over the pixels of each map (...,); of an even number of values the lower middle one, as torch.median."""
    *maps_axes, height, width = maps.shape
    flat = maps.reshape(*maps_axes, height * width)
    if is_tensor(flat):
        return flat.detach().median(-1).values
    middle = (flat.shape[-1] - 1) // 2
    return np.partition(flat, middle, axis=-1)[..., middle]


def list_peaks(
    maps: Array, peaks: Array, *, threshold: float | None = None, limit: int | None = None, by_score: bool = False
) -> tuple[Array, Array, Array]:
    """Peaks of (classes, H, W) maps as a list: classes ascending, within a class row-major or by falling score.

    Args:
        maps: (classes, H, W) float.
        peaks: (classes, H, W) bool.
        threshold: leave out peaks below this value.
        limit: keep this many of each class, the highest; of equal ones the first in row-major order.
        by_score: order within a class by falling value (ties row-major) instead of row-major.

    Returns:
        classes (P,) int64, points (P, 2) int64 as (y, x) in map pixels, values (P,) in the type of the maps.
    """
    if maps.ndim != 3 or tuple(maps.shape) != tuple(peaks.shape):
        raise ValueError(
            f"peaks: maps {tuple(maps.shape)} and peaks {tuple(peaks.shape)}, expected twice (classes, height, width)"
        )
    if is_tensor(maps):
        import torch

        listed = list_peaks(
            arrays.as_numpy(maps), arrays.as_numpy(peaks), threshold=threshold, limit=limit, by_score=by_score
        )
        classes, points, values = (torch.as_tensor(part, device=maps.device) for part in listed)
        return classes, points, values
    classes, *points = np.nonzero(peaks if threshold is None else peaks & (maps >= threshold))
    values = maps[classes, points[0], points[1]]
    best = np.lexsort((-values, classes))
    place = np.arange(len(best)) - np.searchsorted(classes, classes[best])
    best = best if limit is None else best[place < limit]
    index = best if by_score else np.sort(best)
    return classes[index], np.stack(points, 1)[index], values[index]


def _argmax_of_window(maps: Array, window: int) -> Array:
    if is_tensor(maps):
        import torch
        from torch.nn import functional

        height, width = maps.shape[-2:]
        flat = maps.detach().reshape(-1, 1, height, width)
        _, index = functional.max_pool2d(flat, window, 1, window // 2, return_indices=True)
        own = torch.arange(height * width, device=maps.device).reshape(height, width)
        return (index == own).reshape(maps.shape)
    reach = window // 2
    padded = np.pad(maps, [(0, 0)] * (maps.ndim - 2) + [(reach, reach)] * 2, constant_values=-np.inf)
    height, width = maps.shape[-2:]
    peaks = np.ones(maps.shape, bool)
    for place in range(window**2):
        y, x = divmod(place, window)
        neighbour = padded[..., y : y + height, x : x + width]
        peaks &= maps > neighbour if place < window**2 // 2 else maps >= neighbour
    return peaks


def _require_maps(maps: Array, window: int) -> None:
    if maps.ndim < 2 or 0 in maps.shape[-2:]:
        raise ValueError(f"peaks: maps have shape {tuple(maps.shape)}, expected (..., height, width) with pixels")
    if not arrays.is_float(maps):
        raise ValueError(f"peaks: maps have type {maps.dtype}, expected a floating type")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"peaks: window is {window}, expected an odd number, so that a window has a middle")
