"""Partitions of an image into atoms: the largest sets of pixels that no region cuts.

Every function takes NumPy arrays or torch tensors (CPU or CUDA) and answers in kind.
"""

from typing import TYPE_CHECKING

import numpy as np

from stages.ops.arrays import Array, as_index, as_numpy, is_tensor, library

if TYPE_CHECKING:
    import torch

WORD_BITS = 64
# SplitMix64's multiplier as a signed 64-bit number (Steele, Lea, Flood: Fast splittable pseudorandom number
# generators, 2014).
HASH_MULTIPLIER = 0xBF58476D1CE4E5B9 - (1 << 64)
HASH_SHIFT = 29
BAND = 1 << 22  # pixels of a large image that are worked on at a time: temporary arrays stay small


def unique(codes: Array) -> tuple[Array, Array, Array]:
    """Distinct values of (P,) integers, numbered by their first appearance.

    Returns:
        inverse: (P,) integers, number of each entry's value, 0 for the value of entry 0.
        first: (A,) integers, ascending: where each value appears first.
        counts: (A,) int64, how often each value appears.
    """
    if is_tensor(codes):
        import torch

        _, inverse, counts = torch.unique(codes, return_inverse=True, return_counts=True)
        places = torch.arange(len(codes), device=codes.device)
        first = torch.full_like(counts, len(codes)).scatter_reduce_(0, inverse, places, "amin")
        order = torch.argsort(first)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=codes.device)
        return rank[inverse], first[order], counts[order]
    _, first, inverse, counts = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[inverse], first[order], counts[order]


def equal_columns(matrix: Array) -> tuple[Array, Array]:
    """Group the equal columns of a boolean matrix (N, P); with N = 0 all columns are equal.

    Columns are compared by a 64-bit hash; the groups are then verified word for word, and in the event of
    a collision found again by exact refinement, so the answer is exact in every case.

    Returns:
        inverse: (P,) integers, group of each column; groups are numbered by first appearance.
        first: (A,) integers, ascending: the first column of each group.
    """
    words = _words(matrix)
    inverse, first, _ = unique(_hash(words))
    if all(bool((word[first][inverse] == word).all()) for word in words):
        return inverse, first
    inverse, first, _ = unique(words[0])
    for word in words[1:]:
        inverse, first, _ = refine(inverse, unique(word)[0])
    return inverse, first


def refine(parts: Array, others: Array) -> tuple[Array, Array, Array]:
    """Common refinement of two partitions, each (P,) non-negative part numbers; answers like `unique`."""
    parts, others = as_index(parts), as_index(others)
    return unique(parts * (int(others.max()) + 1) + others)


def bounds(parts: Array, count: int) -> Array:
    """Tight half-open boxes (count, 4) int32 (x0, y0, x1, y1) of the parts of an (H, W) part map.

    A part without pixels gets (W, H, 0, 0), the neutral element of uniting boxes.
    """
    height, width = parts.shape
    if is_tensor(parts):
        import torch

        index = parts.long().reshape(-1)
        ys = torch.arange(height, device=parts.device, dtype=torch.int32).repeat_interleave(width)
        xs = torch.arange(width, device=parts.device, dtype=torch.int32).repeat(height)
        boxes = torch.tensor([width, height, 0, 0], dtype=torch.int32, device=parts.device)[:, None].repeat(1, count)
        for row, values, end in ((0, xs, "amin"), (1, ys, "amin"), (2, xs + 1, "amax"), (3, ys + 1, "amax")):
            boxes[row].scatter_reduce_(0, index, values, end)
        return boxes.T.contiguous()
    boxes = np.tile(np.array([[width], [height], [0], [0]], np.int32), (1, count))
    for rows in bands(height, width):
        index = parts[rows].reshape(-1)
        ys, xs = (grid.reshape(-1) for grid in np.indices(parts[rows].shape, dtype=np.int32))
        ys += rows.start
        np.minimum.at(boxes[0], index, xs)
        np.minimum.at(boxes[1], index, ys)
        np.maximum.at(boxes[2], index, xs + 1)
        np.maximum.at(boxes[3], index, ys + 1)
    return np.ascontiguousarray(boxes.T)


def bands(height: int, width: int) -> list[slice]:
    """Rows of an image that are worked on at a time, all of a small one at once."""
    rows = max(1, BAND // width)
    return [slice(start, min(start + rows, height)) for start in range(0, height, rows)]


def renumbered(parts: Array, numbers: Array) -> Array:
    """The part map (H, W) with the number `numbers[i]`, (A,) int32, in place of i."""
    if is_tensor(parts):
        return numbers[as_index(parts)]
    new = np.empty(parts.shape, np.int32)
    for rows in bands(*parts.shape):
        new[rows] = numbers[parts[rows]]
    return new


def areas(parts: np.ndarray, count: int) -> np.ndarray:
    """Pixels of each part (count,) int64 of a part map (H, W)."""
    total = np.zeros(count, np.int64)
    for rows in bands(*parts.shape):
        total += np.bincount(parts[rows].reshape(-1), minlength=count)
    return total


def _words(matrix: Array) -> Array:
    """The columns of a boolean matrix (N, P) as 64-bit words (max(1, ceil(N / 64)), P) int64."""
    if is_tensor(matrix) and matrix.device.type != "cpu":
        return _words_on_device(matrix)
    words = _words_on_host(as_numpy(matrix))
    return library(matrix).from_numpy(words) if is_tensor(matrix) else words


def _words_on_host(matrix: np.ndarray) -> np.ndarray:
    """Transpose 64 rows, then pack: np.packbits along the first axis strides through memory, ten times slower."""
    rows, columns = matrix.shape
    words = np.zeros((max(1, -(-rows // WORD_BITS)), columns), np.int64)
    block = np.zeros((columns, WORD_BITS), bool)
    for number, start in enumerate(range(0, rows, WORD_BITS)):
        count = min(WORD_BITS, rows - start)
        block[:, :count] = matrix[start : start + count].T
        block[:, count:] = False
        words[number] = np.packbits(block, axis=1, bitorder="little").view("<i8")[:, 0]
    return words


def _words_on_device(matrix: "torch.Tensor") -> "torch.Tensor":
    """As `_words_on_host`, by sums of powers of two, which torch has on every device."""
    import torch

    rows, columns = matrix.shape
    words = torch.zeros((max(1, -(-rows // WORD_BITS)), columns), dtype=torch.int64, device=matrix.device)
    for number, start in enumerate(range(0, rows, WORD_BITS)):
        block = matrix[start : start + WORD_BITS]
        shifts = torch.arange(len(block), device=matrix.device)[:, None]
        words[number] = (block.long() << shifts).sum(0)
    return words


def _hash(words: Array) -> Array:
    """One int64 per column. The xor-shift between words keeps equal bits of two words from cancelling."""
    codes = words[0] * HASH_MULTIPLIER
    codes = codes ^ (codes >> HASH_SHIFT)
    for word in words[1:]:
        codes = (codes ^ word) * HASH_MULTIPLIER
        codes = codes ^ (codes >> HASH_SHIFT)
    return codes
