"""How regions overlap, from memberships in atoms: the one place that makes intersections, IoU and containment.

With memberships M1 (N, A) and M2 (M, A) on common atoms of s pixels (A,), and K (A1, A2) the pixels that the atoms of
two maps share, of which few pairs share any:

    intersections   I = (M1 * s) M2^T,   or   M1 K M2^T
    IoU             I / ((a1 - I) + a2)  with areas a1 = M1 s, a2 = M2 s
    containment     I / a2: how much of j lies in i

All are exact: sums of whole numbers in a type that holds them, and one quotient. NumPy or torch throughout.
"""

from typing import NamedTuple

import numpy as np

from stages.ops import arrays, partition
from stages.ops.arrays import Array

# Integers up to 2^24 are exact in float32, so a product whose sums stay below is exact whatever its order.
EXACT_IN_FLOAT32 = 1 << 24


def exact(sizes: Array) -> Array:
    """Pixels of atoms (A,) as floating-point numbers, in the type that adds them up exactly and fastest.

    float32 where that holds the pixels of all atoms and products are made in full: torch may have been told to multiply
    float32 as TF32 or bfloat16, and GPUs may do so by themselves; else float64.
    """
    full = True
    if arrays.is_tensor(sizes):
        precision = arrays.library(sizes).get_float32_matmul_precision()
        full = sizes.device.type == "cpu" and precision == "highest"
    if full and int(sizes.sum()) < EXACT_IN_FLOAT32:  # asked of the host alone: a device would have to be waited for
        return arrays.as_float32(sizes)
    return arrays.as_float64(sizes)


def product(left: Array, right: Array) -> Array:
    """Matrix product in the operands' own precision; autocast would round counts to bfloat16."""
    if arrays.is_tensor(left):
        with arrays.library(left).autocast(left.device.type, enabled=False):
            return left @ right
    return left @ right


def iou(intersections: Array, areas: Array, others: Array) -> Array:
    """Intersection over union (N, M) of (N, M) intersections and areas (N,) and (M,), in the intersections' type.

    0 of two empty regions. (a - I) + b stays within the image, where a + b could leave float32's exact integers.
    """
    union = (arrays.like(areas, intersections)[:, None] - intersections) + arrays.like(others, intersections)
    return intersections / union.clip(min=1)


def containment(intersections: Array, areas: Array) -> Array:
    """|i and j| / |j|, (N, M), of (N, M) intersections and areas (M,) of the j; 0 where j is empty."""
    return intersections / arrays.like(areas, intersections).clip(min=1)


class CommonPixels(NamedTuple):
    """Pixels that atoms of two maps of one image share, of the P pairs that share some.

    Attributes:
        first: (P,) int64, atoms of the first map.
        second: (P,) int64, atoms of the second map.
        pixels: (P,) float64, how many they share.
    """

    first: np.ndarray
    second: np.ndarray
    pixels: np.ndarray

    def of_regions(self, members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of memberships (N, A1) and (M, A2): pixels of each pair (N, M), of the first (N,) and the second (M,)."""
        weighted = members[:, self.first] * self.pixels
        theirs = others[:, self.second].astype(np.float64)
        return weighted @ theirs.T, weighted.sum(axis=1), theirs @ self.pixels


def common_pixels(atoms: np.ndarray, others: np.ndarray) -> CommonPixels:
    """Pixels that each pair of atoms of two NumPy maps (H, W) shares; pairs that share none take no memory."""
    count = int(others.max(initial=0)) + 1
    bands = [_counted_runs(atoms[rows], others[rows], count) for rows in partition.bands(*atoms.shape)]
    codes, inverse = np.unique(np.concatenate([codes for codes, _ in bands]), return_inverse=True)
    pixels = np.bincount(inverse, weights=np.concatenate([pixels for _, pixels in bands]))
    return CommonPixels(codes // count, codes % count, pixels)


def _counted_runs(atoms: np.ndarray, others: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the pairs of atoms in some rows, and their pixels; runs of a pair are counted before they are sorted."""
    joint = atoms.reshape(-1).astype(np.int64) * count + others.reshape(-1)
    starts = np.flatnonzero(np.concatenate([[True], joint[1:] != joint[:-1]]))
    codes, inverse = np.unique(joint[starts], return_inverse=True)
    return codes, np.bincount(inverse, weights=np.diff(starts, append=len(joint)))
