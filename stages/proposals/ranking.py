"""Which regions of the pool look like things: a label-free score, and suppression of near-duplicates."""

from typing import NamedTuple

import numpy as np
from numba import njit

from stages.ops import overlaps
from stages.proposals.settings import RankingWeights
from stages.proposals.superpixels import Superpixels

AGREEMENT_IOU = np.float32(0.6)  # regions alike above this IoU support each other
ROWS_AT_ONCE = 256  # of the IoU matrix; bounds memory and lets most pairs be skipped by area


class Pairs(NamedTuple):
    """Pairs of regions that overlap: `first[k]` and `second[k]` (each unordered pair once) have IoU `iou[k]`."""

    first: np.ndarray
    second: np.ndarray
    iou: np.ndarray


def overlapping(regions: np.ndarray, areas: np.ndarray, *, above: float) -> Pairs:
    """All pairs of different regions with IoU above a threshold.

    Pairs whose areas alone forbid such an IoU are never formed: after sorting by area they lie off a band.
    Intersections are exact and the same on every machine, see `stages.ops.overlaps`.

    Args:
        regions: (N, S) bool membership of superpixels, none empty.
        areas: (S,) pixels of the superpixels.
        above: IoU threshold, positive.
    """
    pixels = overlaps.exact(areas)
    members = regions.astype(pixels.dtype)
    sizes = members @ pixels
    order = np.argsort(sizes, kind="stable")
    members, sizes = members[order], sizes[order]
    weighted = members * pixels
    found = []
    for start in range(0, len(members), ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, len(members))
        end = np.searchsorted(sizes, sizes[stop - 1] / above, side="right")
        common = overlaps.product(weighted[start:stop], members[start:end].T)
        iou = overlaps.iou(common, sizes[start:stop], sizes[start:end])
        row, column = np.nonzero(iou > above)
        later = column > row
        row, column = row[later], column[later]
        found.append((order[start + row], order[start + column], iou[row, column]))
    first, second, iou = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Pairs(first, second, iou)


def scores(regions: np.ndarray, superpixels: Superpixels, pairs: Pairs, weights: RankingWeights) -> np.ndarray:
    """Label-free scores, higher = more like a thing.

    A thing's contour lies on edges and its inside holds few; its contour is not the border of the image; it is neither
    tiny nor ragged; and several ways of grouping find it.

    Args:
        regions: (N, S) bool membership of superpixels, none empty.
        superpixels: the base partition.
        pairs: pairs of regions with IoU above AGREEMENT_IOU at least.
        weights: of the terms.

    Returns:
        (N,) float32.
    """
    members = regions.astype(np.float32)
    areas = members @ superpixels.areas.astype(np.float32)
    border = members @ superpixels.border.astype(np.float32)
    contour, on_edge, inside, inside_edge = _contours(
        regions, superpixels.pairs, superpixels.lengths, superpixels.lengths * superpixels.edges
    )
    excess = np.maximum(pairs.iou - AGREEMENT_IOU, 0)
    agreement = np.bincount(pairs.first, excess, len(regions)) + np.bincount(pairs.second, excess, len(regions))
    share = areas / superpixels.labels.size
    roundness = 4 * np.pi * areas / np.maximum(contour + border, 1) ** 2
    total = (
        weights.agreement * np.log1p(agreement + (1 - AGREEMENT_IOU))  # a region agrees with itself
        + weights.contour * on_edge / np.maximum(contour, 1)
        - weights.inside * inside_edge / np.maximum(inside, 1)
        - weights.border * border / np.maximum(contour + border, 1)
        + weights.area * np.log(np.clip(share, 1e-4, weights.area_enough))
        + weights.roundness * np.log(roundness + 0.02)
    )
    return total.astype(np.float32)


@njit(cache=True)
def _contours(regions, pairs, lengths, strengths):
    """Of each region: contour length, edge strength summed along it; the same of the superpixel borders inside it."""
    sums = np.zeros((4, len(regions)), np.float64)
    for i in range(len(regions)):
        region = regions[i]
        for j in range(len(pairs)):
            one, other = region[pairs[j, 0]], region[pairs[j, 1]]
            if one != other:
                sums[0, i] += lengths[j]
                sums[1, i] += strengths[j]
            elif one:
                sums[2, i] += lengths[j]
                sums[3, i] += strengths[j]
    return sums[0], sums[1], sums[2], sums[3]


def suppress(ranks: np.ndarray, pairs: Pairs, *, overlap: float, count: int) -> np.ndarray:
    """Greedy suppression of near-duplicates.

    Args:
        ranks: (N,) scores; ties go to the lower index.
        pairs: pairs of regions with IoU above `overlap` at least.
        overlap: IoU above which the lower-ranked of two regions is dropped.
        count: how many to keep at most.

    Returns:
        Indices of the kept regions, best first.
    """
    close = pairs.iou > overlap
    tails = np.concatenate([pairs.first[close], pairs.second[close]])
    heads = np.concatenate([pairs.second[close], pairs.first[close]])
    starts = np.concatenate([[0], np.cumsum(np.bincount(tails, minlength=len(ranks)))])
    return _suppress(np.argsort(-ranks, kind="stable"), starts, heads[np.argsort(tails, kind="stable")], count)


@njit(cache=True)
def _suppress(order, starts, rivals, count):
    dropped = np.zeros(len(order), np.bool_)
    kept = np.empty(min(count, len(order)), np.int64)
    found = 0
    for i in order:
        if found == len(kept):
            break
        if dropped[i]:
            continue
        kept[found] = i
        found += 1
        for k in range(starts[i], starts[i + 1]):
            dropped[rivals[k]] = True
    return kept[:found]
