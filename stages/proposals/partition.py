"""The base partition of an image: graph-based segmentation (Felzenszwalb and Huttenlocher, IJCV 2004)."""

import cv2
import numpy as np
from numba import njit

DIGIT_BITS = 16  # of a float32 that one pass of the sort looks at


def partition(rgb: np.ndarray, *, scale: float, sigma: float, min_size: int) -> np.ndarray:
    """Superpixels of an image.

    Differs from the paper: all channels decide together by their Euclidean distance, as in scikit-image, instead of one
    segmentation per channel.

    Args:
        rgb: (H, W, 3) uint8.
        scale: k in the threshold k / |C|, in grey levels; larger gives larger superpixels.
        sigma: of the Gaussian smoothing before, in pixels; 0 = none.
        min_size: pixels; smaller superpixels join the neighbour they differ least from.

    Returns:
        (H, W) int32 labels 0..S-1 in order of first appearance; each superpixel is 8-connected.
    """
    smooth = rgb.astype(np.float32)
    if sigma > 0:
        smooth = cv2.GaussianBlur(smooth, (0, 0), sigma)
    costs = _costs(smooth)
    return _segment(costs, _cheapest_first(costs), float(scale), min_size)


# Neighbours of a pixel as (dy, dx), each pair of pixels once.
@njit(cache=True, inline="always")
def _offset(direction: int) -> tuple[int, int]:
    return (0, 1) if direction == 0 else (1, direction - 2)


@njit(cache=True)
def _costs(smooth: np.ndarray) -> np.ndarray:
    """(H, W, 4) float32 colour distance to the right, lower left, lower and lower right neighbour; -1 = none."""
    height, width, _ = smooth.shape
    costs = np.full((height, width, 4), np.float32(-1))
    for y in range(height):
        for x in range(width):
            for direction in range(4):
                dy, dx = _offset(direction)
                y2, x2 = y + dy, x + dx
                if y2 < height and 0 <= x2 < width:
                    red = smooth[y, x, 0] - smooth[y2, x2, 0]
                    green = smooth[y, x, 1] - smooth[y2, x2, 1]
                    blue = smooth[y, x, 2] - smooth[y2, x2, 2]
                    costs[y, x, direction] = np.sqrt(red * red + green * green + blue * blue)
    return costs


@njit(cache=True)
def _cheapest_first(costs: np.ndarray) -> np.ndarray:
    """Indices into the flattened costs, ascending, absent pairs left out; equal costs keep their order.

    A radix sort in linear time: the bits of floats that are not negative are ordered as whole numbers.
    """
    flat = costs.ravel()
    bits = flat.view(np.uint32)
    order = np.flatnonzero(flat >= 0).astype(np.int32)
    for shift in (0, DIGIT_BITS):
        starts = np.zeros((1 << DIGIT_BITS) + 1, np.int64)
        for i in order:
            starts[((bits[i] >> shift) & ((1 << DIGIT_BITS) - 1)) + 1] += 1
        starts = np.cumsum(starts)
        ahead = np.empty_like(order)
        for i in order:
            digit = (bits[i] >> shift) & ((1 << DIGIT_BITS) - 1)
            ahead[starts[digit]] = i
            starts[digit] += 1
        order = ahead
    return order


@njit(cache=True, inline="always")
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True)
def _segment(costs: np.ndarray, order: np.ndarray, scale: float, min_size: int) -> np.ndarray:
    height, width, _ = costs.shape
    flat = costs.ravel()
    parent = np.arange(height * width).astype(np.int32)
    sizes = np.ones(height * width, np.int32)
    # Highest cost at which a component still grows: its internal difference + scale / size (equation 3 of the paper).
    limit = np.full(height * width, np.float32(scale))
    for merge_small in (False, True):
        for edge in order:
            pixel = edge >> 2
            dy, dx = _offset(edge & 3)
            one, other = _root(parent, pixel), _root(parent, pixel + dy * width + dx)
            if one == other:
                continue
            if merge_small:
                joins = min(sizes[one], sizes[other]) < min_size
            else:
                joins = flat[edge] <= min(limit[one], limit[other])
            if joins:
                low, high = min(one, other), max(one, other)
                parent[high] = low
                sizes[low] += sizes[high]
                limit[low] = flat[edge] + np.float32(scale) / sizes[low]
    labels = np.empty((height, width), np.int32)
    number = np.full(height * width, -1, np.int32)
    count = 0
    for pixel in range(height * width):
        root = _root(parent, pixel)
        if number[root] < 0:
            number[root] = count
            count += 1
        labels[pixel // width, pixel % width] = number[root]
    return labels
