"""Greedy merge trees over superpixels: each tree follows one criterion of which neighbours belong together."""

from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
from numba import njit

from stages.proposals.superpixels import Superpixels


class Criterion(NamedTuple):
    """Weights of a merge cost; the pair of neighbours with the lowest cost merges first.

    With dc, dt = 1 - histogram intersection of colour and texture, b = mean edge strength of the shared border,
    a = area of the smaller region, s = area of both, f = unfilled area of their joint box (areas as shares of the
    image) and F = f / area of the joint box, the cost is

        scaled:  (colour dc + texture dt + border b) * a ** size * (1 + fill F)
        plain:   colour dc + texture dt + border b + size s + fill f

    The plain form is selective search (Uijlings et al., IJCV 2013, equations 3-6). The scaled form lets small regions
    join their surroundings long before large ones meet, whatever they look like.
    """

    scaled: bool
    colour: float
    texture: float
    border: float
    size: float
    fill: float


# The weights define the named criteria; which of them are used is a setting.
CRITERIA = {
    "contrast": Criterion(scaled=True, colour=1.0, texture=0.5, border=1.0, size=0.5, fill=1.0),
    "compact": Criterion(scaled=True, colour=1.0, texture=1.0, border=1.0, size=0.5, fill=2.0),
    "colour_size_fill": Criterion(scaled=False, colour=1.0, texture=0.0, border=0.0, size=1.0, fill=1.0),
    "size_fill": Criterion(scaled=False, colour=0.0, texture=0.0, border=0.0, size=1.0, fill=1.0),
}


def merge_tree(superpixels: Superpixels, *, space: str, criterion: Criterion) -> np.ndarray:
    """Merge neighbours until one region is left.

    Args:
        superpixels: S superpixels, connected by their pairs.
        space: colour space whose histograms are compared.
        criterion: the merge cost.

    Returns:
        (S - 1, 2) int32, the two nodes that each merge joined, in merging order. Nodes 0..S-1 are the superpixels,
        S + k is the result of merge k. Ties go to the earlier pair. Empty for one superpixel.
    """
    count = len(superpixels.areas)
    sizes = superpixels.areas.astype(np.float64)[:, None]
    rows = _Rows(
        colour=(superpixels.colours[space] / (3 * sizes)).astype(np.float32),
        texture=(superpixels.texture / sizes).astype(np.float32),
        area=superpixels.areas / superpixels.labels.size,
        box=superpixels.boxes.astype(np.float64),
    )
    slots = _Slots(
        ends=superpixels.pairs.copy(),
        lengths=superpixels.lengths.astype(np.float64),
        strengths=superpixels.lengths * superpixels.edges.astype(np.float64),
        alive=np.ones(len(superpixels.pairs), dtype=bool),
        head=np.full(count, -1, dtype=np.int32),
        tail=np.full(count, -1, dtype=np.int32),
        following=np.full(2 * len(superpixels.pairs), -1, dtype=np.int32),
    )
    return _merge(rows, slots, float(superpixels.labels.size), criterion)


@njit(cache=True)
def members(merges: np.ndarray, count: int) -> np.ndarray:
    """(S - 1, S) bool: which of the `count` = S superpixels each merge's region holds."""
    inside = np.zeros((len(merges), count), np.bool_)
    for k in range(len(merges)):
        for node in merges[k]:
            if node < count:
                inside[k, node] = True
            else:
                inside[k] |= inside[node - count]
    return inside


@njit(cache=True)
def joining_order(merges: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(E,) float32 in (0, 1]: when each pair of neighbours came into one region, as a share of all merges.

    The order of the lowest common ancestor is an ultrametric boundary strength (Arbelaez et al., PAMI 2011, section 4)
    that needs no calibration of costs across criteria.
    """
    count = len(merges) + 1
    parents = np.full(2 * count - 1, -1, np.int64)
    for k in range(len(merges)):
        parents[merges[k, 0]] = count + k
        parents[merges[k, 1]] = count + k
    order = np.empty(len(pairs), np.float32)
    for j in range(len(pairs)):
        one, other = np.int64(pairs[j, 0]), np.int64(pairs[j, 1])
        # A parent's number exceeds its children's: lifting the lower node meets the other at their ancestor.
        while one != other:
            if one < other:
                one = parents[one]
            else:
                other = parents[other]
        order[j] = (one - count + 1) / (count - 1)
    return order


class _Rows(NamedTuple):
    """What the regions look like; shares of pixels and of the image. A merge's result takes over the first's row."""

    colour: np.ndarray
    texture: np.ndarray
    area: np.ndarray
    box: np.ndarray


class _Slots(NamedTuple):
    """Pairs of neighbouring regions, and for each region a linked list of its half-slots (2 * slot + side).

    When a region is merged its slots are handed to the result, and two slots that have come to join the same pair
    become one, so there are never more slots than at the start.
    """

    ends: np.ndarray
    lengths: np.ndarray
    strengths: np.ndarray
    alive: np.ndarray
    head: np.ndarray
    tail: np.ndarray
    following: np.ndarray


@njit(cache=True)
def _merge(rows: _Rows, slots: _Slots, pixels: float, criterion: Criterion) -> np.ndarray:
    """Cheapest first, by a heap of costs; entries whose slot has changed since (`version`) are stale and skipped."""
    count = len(rows.area)
    _link(slots)
    node = np.arange(count).astype(np.int32)  # the node that a row stands for
    slot_to = np.full(count, -1, np.int32)
    version = np.zeros(len(slots.ends), np.int64)
    merges = np.empty((count - 1, 2), np.int32)
    heap = [(_cost(rows, slots, j, pixels, criterion), j, version[j]) for j in range(len(slots.ends))]
    heapify(heap)
    for k in range(count - 1):
        _, j, seen = heappop(heap)
        while not slots.alive[j] or seen != version[j]:
            _, j, seen = heappop(heap)
        a, b = slots.ends[j, 0], slots.ends[j, 1]
        merges[k, 0], merges[k, 1] = min(node[a], node[b]), max(node[a], node[b])
        node[a] = count + k
        slots.alive[j] = False
        _unite_rows(rows, a, b)
        _unite_slots(slots, a, b, slot_to)
        half = np.int64(slots.head[a])
        while half >= 0:
            j = half >> 1
            version[j] += 1
            heappush(heap, (_cost(rows, slots, j, pixels, criterion), j, version[j]))
            half = np.int64(slots.following[half])
    return merges


@njit(cache=True, inline="always")
def _common(one: np.ndarray, other: np.ndarray) -> float:
    """Histogram intersection."""
    total = np.float32(0)
    for k in range(len(one)):
        total += min(one[k], other[k])
    return total


@njit(cache=True)
def _cost(rows: _Rows, slots: _Slots, j: int, pixels: float, criterion: Criterion) -> float:
    """Cost of merging the two regions of slot j, see Criterion."""
    a, b = slots.ends[j, 0], slots.ends[j, 1]
    look = 0.0
    if criterion.colour > 0:
        look += criterion.colour * (1 - _common(rows.colour[a], rows.colour[b]))
    if criterion.texture > 0:
        look += criterion.texture * (1 - _common(rows.texture[a], rows.texture[b]))
    if criterion.border > 0:
        look += criterion.border * slots.strengths[j] / slots.lengths[j]
    width = max(rows.box[a, 2], rows.box[b, 2]) - min(rows.box[a, 0], rows.box[b, 0])
    height = max(rows.box[a, 3], rows.box[b, 3]) - min(rows.box[a, 1], rows.box[b, 1])
    joint = width * height / pixels
    both = rows.area[a] + rows.area[b]
    unfilled = joint - both
    if criterion.scaled:
        smaller = min(rows.area[a], rows.area[b])
        return look * smaller**criterion.size * (1 + criterion.fill * unfilled / joint)
    return look + criterion.size * both + criterion.fill * unfilled


@njit(cache=True)
def _link(slots: _Slots) -> None:
    for j in range(len(slots.ends)):
        for side in range(2):
            region, half = slots.ends[j, side], 2 * j + side
            if slots.head[region] < 0:
                slots.head[region] = half
            else:
                slots.following[slots.tail[region]] = half
            slots.tail[region] = half


@njit(cache=True)
def _unite_rows(rows: _Rows, a: int, b: int) -> None:
    """Row a becomes the union of a and b; histograms are averaged by area."""
    share = np.float32(rows.area[a] / (rows.area[a] + rows.area[b]))
    rest = np.float32(1) - share
    rows.colour[a] = rows.colour[a] * share + rows.colour[b] * rest
    rows.texture[a] = rows.texture[a] * share + rows.texture[b] * rest
    rows.area[a] += rows.area[b]
    for k in range(2):
        rows.box[a, k] = min(rows.box[a, k], rows.box[b, k])
        rows.box[a, k + 2] = max(rows.box[a, k + 2], rows.box[b, k + 2])


@njit(cache=True)
def _unite_slots(slots: _Slots, a: int, b: int, slot_to: np.ndarray) -> None:
    """Give b's slots to a, unite slots to the same neighbour, and drop dead ones from a's list.

    `slot_to` is room for one number per region, all -1 before and after.
    """
    slots.following[slots.tail[a]] = slots.head[b]
    half = slots.head[a]
    slots.head[a] = slots.tail[a] = -1
    while half >= 0:
        j = half >> 1
        after = slots.following[half]
        slots.following[half] = -1
        if slots.alive[j]:
            other = slots.ends[j, 1 - (half & 1)]
            twin = slot_to[other]
            if twin >= 0:
                slots.lengths[twin] += slots.lengths[j]
                slots.strengths[twin] += slots.strengths[j]
                slots.alive[j] = False
            else:
                slot_to[other] = j
                slots.ends[j, half & 1] = a
                if slots.tail[a] < 0:
                    slots.head[a] = half
                else:
                    slots.following[slots.tail[a]] = half
                slots.tail[a] = half
        half = after
    half = slots.head[a]
    while half >= 0:
        slot_to[slots.ends[half >> 1, 1 - (half & 1)]] = -1
        half = slots.following[half]
