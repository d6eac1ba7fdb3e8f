"""Regions around seeds: level sets of the geodesic distance over the superpixel graph.

The idea is that of geodesic object proposals (Kraehenbuehl and Koltun, ECCV 2014), without their learned
seeds and masks.
Differs from the paper: seeds by farthest-point sampling; the level sets are cut where the distance jumps.
"""

from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numba import njit


class Graph(NamedTuple):
    """Superpixel neighbours in compressed rows: those of s are neighbours[starts[s]:starts[s + 1]].

    Attributes:
        starts: (S + 1,) int32.
        neighbours: (2 E,) int32.
        weights: (2 E,) float64, positive.
    """

    starts: np.ndarray
    neighbours: np.ndarray
    weights: np.ndarray


def graph(pairs: np.ndarray, weights: np.ndarray, count: int) -> Graph:
    """The graph of `count` superpixels from (E, 2) pairs and their (E,) weights."""
    tails = np.concatenate([pairs[:, 0], pairs[:, 1]])
    order = np.argsort(tails, kind="stable")
    starts = np.zeros(count + 1, dtype=np.int32)
    starts[1:] = np.cumsum(np.bincount(tails, minlength=count))
    heads = np.concatenate([pairs[:, 1], pairs[:, 0]])
    return Graph(starts, heads[order].astype(np.int32), np.tile(weights.astype(np.float64), 2)[order])


@njit(cache=True)
def distances(graph: Graph, sources: np.ndarray) -> np.ndarray:
    """(S,) float64 length of the shortest path from the nearest of the sources ((S,) bool); inf without any."""
    reached = np.full(len(sources), np.inf)
    heap = [(0.0, np.int32(s)) for s in range(len(sources)) if sources[s]]
    for _, s in heap:
        reached[s] = 0.0
    while len(heap) > 0:
        distance, s = heappop(heap)
        if distance > reached[s]:
            continue
        for k in range(graph.starts[s], graph.starts[s + 1]):
            further = distance + graph.weights[k]
            if further < reached[graph.neighbours[k]]:
                reached[graph.neighbours[k]] = further
                heappush(heap, (further, graph.neighbours[k]))
    return reached


@njit(cache=True)
def level_sets(
    graph: Graph,
    areas: np.ndarray,
    on_border: np.ndarray,
    seeds: int,
    levels: int,
    border_pull: float,
    min_area: float,
    max_area: float,
) -> np.ndarray:
    """Regions around farthest-point seeds.

    Each seed is the superpixel farthest from the image's border and all seeds before it. It gives two fields: its
    distance, and that less `border_pull` times the distance to the border, which grows faster towards the outside.

    Args:
        graph: neighbouring superpixels.
        areas: (S,) shares of the image.
        on_border: (S,) bool, superpixels that touch the border of the image.
        seeds: how many; fewer when no superpixel is left at a distance.
        levels: level sets per field, at the largest jumps between superpixels in order of the field.
        border_pull: see above.
        min_area: area share of the smallest level set.
        max_area: area share of the largest level set.

    Returns:
        (N, S) bool, N <= 2 * seeds * levels, duplicates included.
    """
    count = len(areas)
    to_border = distances(graph, on_border)
    nearest = to_border.copy()
    regions = np.zeros((2 * seeds * levels, count), np.bool_)
    found = 0
    for _ in range(seeds):
        seed = np.argmax(nearest)
        if nearest[seed] <= 0:
            break
        source = np.zeros(count, np.bool_)
        source[seed] = True
        to_seed = distances(graph, source)
        nearest = np.minimum(nearest, to_seed)
        for pull in (0.0, border_pull):
            field = to_seed - pull * to_border
            order = np.argsort(field)
            for cut in _jumps(field[order], areas[order], levels, min_area, max_area):
                regions[found, order[: cut + 1]] = True
                found += 1
    return regions[:found]


@njit(cache=True)
def _jumps(field: np.ndarray, areas: np.ndarray, levels: int, min_area: float, max_area: float) -> np.ndarray:
    """Positions of the largest steps of a sorted field, the areas up to them at least a quarter apart."""
    filled = np.cumsum(areas)
    steps = np.zeros(len(field))
    for k in range(len(field) - 1):
        if min_area <= filled[k] <= max_area:
            steps[k] = field[k + 1] - field[k]
    cuts = np.empty(levels, np.int64)
    found = 0
    while found < levels:
        best = np.argmax(steps)
        if steps[best] <= 0:
            break
        cuts[found] = best
        found += 1
        for k in range(len(steps)):
            if 0.8 * filled[best] < filled[k] < 1.25 * filled[best]:
                steps[k] = 0
    return cuts[:found]
