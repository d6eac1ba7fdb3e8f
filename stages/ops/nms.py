"""Greedy non-maximum suppression, exact, for one or many classes at once, NumPy or torch.

Candidates are visited from the best score to the worst (equal scores: lower index first); each is kept unless a kept
one before it overlaps it. Kept is therefore the one solution of
    keep[j] = not any(keep[i] and i overlaps j, for i before j),
and iterating that equation from "all kept" reaches it: after t rounds the first t candidates are settled, in practice
all of them after a few. Each round is one array operation for all candidates (and, on a device, for all classes).
"""

from typing import TYPE_CHECKING

import numpy as np

from stages.ops import boxes as box_algebra
from stages.ops.arrays import Array, as_numpy, is_bool, library

if TYPE_CHECKING:
    import torch

# Boolean entries that the device may spend on one block of classes; 128 MiB.
BLOCK_ENTRIES = 1 << 27


def mask_nms(iou: Array, scores: Array, threshold: float, *, candidates: Array | None = None) -> Array:
    """Which regions survive suppression by a matrix of overlaps (N, N): those below the threshold with all kept before.

    An overlap equal to the threshold suppresses. The comparison is made in the type of `iou`. See `greedy`.
    """
    return greedy(iou >= threshold, scores, candidates=candidates)


def box_nms(
    boxes: Array, scores: Array, threshold: float, *, candidates: Array | None = None, inclusive: bool = False
) -> Array:
    """Which boxes (N, 4) survive suppression by box overlap; an overlap equal to the threshold suppresses.

    `inclusive` counts sides with one pixel more, as CIM does at test time. See `greedy` for the rest.
    """
    return mask_nms(box_algebra.iou(boxes, inclusive=inclusive), scores, threshold, candidates=candidates)


def greedy(overlapping: Array, scores: Array, *, candidates: Array | None = None) -> Array:
    """Greedy suppression under any symmetric relation.

    Args:
        overlapping: (N, N) bool, which pairs cannot both be kept; the diagonal is not read.
        scores: (N,) or (N, classes) float; classes are independent of each other. NaN is a ValueError.
        candidates: bool of the same shape; all others neither survive nor suppress. Default: all are candidates.

    Returns:
        bool of the shape of `scores`: the survivors.
    """
    if candidates is None:
        candidates = library(scores).ones_like(scores, dtype=library(scores).bool)
    _require_agreement(overlapping, scores, candidates)
    if scores.ndim == 1:
        return _greedy(overlapping, scores[:, None], candidates[:, None])[:, 0]
    return _greedy(overlapping, scores, candidates)


def _greedy(overlapping: Array, scores: Array, candidates: Array) -> Array:
    if isinstance(scores, np.ndarray):
        return _greedy_on_host(overlapping, scores, candidates)
    if scores.device.type == "cpu":
        import torch

        parts = (as_numpy(overlapping), as_numpy(scores.detach().double()), as_numpy(candidates))
        return torch.from_numpy(_greedy_on_host(*parts))
    return _greedy_on_device(overlapping, scores, candidates)


def _greedy_on_host(overlapping: np.ndarray, scores: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Class by class; a round is an OR over bit-packed rows of the kept."""
    survivors = np.zeros(scores.shape, bool)
    later = np.packbits(~np.tri(len(scores), dtype=bool), axis=1)
    for column in range(scores.shape[1]):
        members = np.flatnonzero(candidates[:, column])
        order = members[np.argsort(-scores[members, column], kind="stable")]
        if not len(order):
            continue
        blocks = np.packbits(overlapping.take(order, 0).take(order, 1), axis=1)
        blocks &= later[: len(order), : blocks.shape[1]]
        keep, settled = np.ones(len(order), bool), False
        while not settled:
            blocked = np.unpackbits(np.bitwise_or.reduce(blocks[keep], axis=0), count=len(order)).view(bool)
            settled = np.array_equal(keep, ~blocked)
            keep = ~blocked
        survivors[order[keep], column] = True
    return survivors


def _greedy_on_device(
    overlapping: "torch.Tensor", scores: "torch.Tensor", candidates: "torch.Tensor"
) -> "torch.Tensor":
    """All classes of a block at once; only the test for the end of the rounds waits for the device."""
    import torch

    survivors = torch.zeros_like(candidates)
    longest = int(candidates.sum(0).max()) if candidates.numel() else 0
    if longest == 0:
        return survivors
    order = scores.argsort(dim=0, descending=True, stable=True)
    order = order.gather(0, candidates.gather(0, order).byte().argsort(dim=0, descending=True, stable=True))[:longest].T
    width = max(1, BLOCK_ENTRIES // longest**2)
    for start in range(0, len(order), width):
        block = order[start : start + width]
        columns = torch.arange(start, start + len(block), device=scores.device)[:, None]
        valid = candidates[block, columns]
        blocks = overlapping[block[:, :, None], block[:, None, :]].triu(1)
        keep, settled = valid, False
        while not settled:
            kept = valid & ~(blocks & keep[:, :, None]).any(1)
            settled = torch.equal(kept, keep)
            keep = kept
        survivors[block, columns] = keep
    return survivors


def _require_agreement(overlapping: Array, scores: Array, candidates: Array) -> None:
    count = scores.shape[0] if scores.ndim in (1, 2) else -1
    if tuple(overlapping.shape) != (count, count) or tuple(candidates.shape) != tuple(scores.shape):
        raise ValueError(
            f"suppression: overlaps {tuple(overlapping.shape)}, scores {tuple(scores.shape)} and candidates "
            f"{tuple(candidates.shape)} do not agree, expected (N, N) and twice (N,) or (N, classes)"
        )
    if not is_bool(candidates) or not is_bool(overlapping):
        raise ValueError(f"suppression: candidates are {candidates.dtype}, overlaps {overlapping.dtype}, expected bool")
    if bool((scores != scores).any()):
        raise ValueError("suppression: a score is NaN, so there is no order; look for the network or step that made it")
