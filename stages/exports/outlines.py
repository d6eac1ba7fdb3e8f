"""Masks as one closed line through the centers of border pixels, as readers of YOLO segmentation text fill them."""

from typing import NamedTuple

import cv2
import numpy as np

NO_PARENT = -1  # in the hierarchy of cv2.findContours: a ring around a part, not around a hole
NEIGHBOURS = ((slice(None), slice(1, None)), (slice(1, None), slice(None)))  # to the right, below


class Outline(NamedTuple):
    """A mask as one closed line.

    Attributes:
        line: (n, 2) int64 pixels (x, y), n from 3; corners only.
        added: number of pixels outside the mask that the line shows, of bridges between parts.
        left_out: number of pixels of the mask that it does not show, of parts that are not worth their bridges.
    """

    line: np.ndarray
    added: int
    left_out: int


def outline(mask: np.ndarray) -> Outline:
    """One closed line around the parts and holes of a mask (H, W) bool that has a pixel at least.

    Rings around parts and holes are joined by the shortest bridges, each passed there and back. OpenCV's `fillPoly` on
    the line gives the mask back, but for bridges between two parts. Parts that are smaller than the bridges to them are
    left out, so that as few pixels as possible differ; the largest part never is.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    inside = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    found, hierarchy = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [ring[:, 0].astype(np.int64) for ring in found]
    holes = hierarchy[0, :, -1] != NO_PARENT
    line = _corners(rings[0] if len(rings) == 1 else _joined(rings, holes, inside))
    shown = cv2.fillPoly(np.zeros(inside.shape, np.uint8), [line.astype(np.int32)], 1).astype(bool)
    added, left_out = (shown & ~inside).sum(), (inside & ~shown).sum()
    return Outline(line + np.array([left, top]), int(added), int(left_out))


def _joined(rings: list[np.ndarray], holes: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The points of the rings as one closed walk: rings are linked lists, and each bridge splices two of them."""
    points, ring = np.concatenate(rings), np.repeat(np.arange(len(rings)), [len(part) for part in rings])
    starts = np.cumsum([0, *(len(part) for part in rings)])
    following = [*range(1, len(points) + 1)]
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        following[end - 1] = begin
    places = list(range(len(points)))  # of each node of the walk, which point it is
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    part = labels[points[starts[:-1], 1], points[starts[:-1], 0]]
    areas = np.where(holes, 0, statistics[part, cv2.CC_STAT_AREA])
    first = int(areas.argmax())
    for a, b in _worth(_bridges(points, ring, mask.shape), points, ring, part, areas, first):
        again_a, again_b = len(places), len(places) + 1
        places += [places[a], places[b]]
        following += [following[a], following[b]]
        following[a], following[b] = again_b, again_a
    start = int(starts[first])
    walk, node = [start], following[start]
    while node != start:
        walk.append(places[node])
        node = following[node]
    return points[walk]


def _worth(
    bridges: np.ndarray, points: np.ndarray, ring: np.ndarray, part: np.ndarray, areas: np.ndarray, first: int
) -> list[tuple[int, int]]:
    """Those of the bridges (n, 2) of a tree behind which, seen from the ring `first`, lies more than they add.

    `part` (rings,) is the part that each ring belongs to, `areas` (rings,) what each brings, in pixels.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order

    apart = part[ring[bridges[:, 0]]] != part[ring[bridges[:, 1]]]
    prices = np.where(apart, np.abs(points[bridges[:, 0]] - points[bridges[:, 1]]).max(axis=1) - 1, 0)
    ends = ring[bridges]
    tree = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(areas), len(areas)))
    order, before = breadth_first_order(tree, first, directed=False)
    bridge_of = {tuple(sorted(pair)): i for i, pair in enumerate(ends.tolist())}
    to = {one: bridge_of[tuple(sorted((one, int(before[one]))))] for one in order[1:].tolist()}
    gains = areas.astype(np.int64)
    for one in order[:0:-1].tolist():
        gains[before[one]] += max(0, gains[one] - prices[to[one]])
    kept = {first}
    for one in order[1:].tolist():
        if before[one] in kept and gains[one] >= prices[to[one]]:
            kept.add(one)
    return [tuple(bridges[to[one]].tolist()) for one in order[1:].tolist() if one in kept]


def _bridges(points: np.ndarray, ring: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pairs of points (rings - 1, 2) that join all rings by the least length: a minimum spanning tree.

    Shortest bridges lie between rings whose nearest-point regions touch (the Voronoi diagram holds the tree), and where
    rings share a pixel.
    """
    order = np.lexsort((ring, points[:, 0], points[:, 1]))
    shared = (points[order[1:]] == points[order[:-1]]).all(axis=1) & (ring[order[1:]] != ring[order[:-1]])
    owner = np.full(shape, -1)
    owner[points[:, 1], points[:, 0]] = np.arange(len(points))
    away = (owner < 0).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.full(labels.max() + 1, -1)
    of_label[labels[owner >= 0]] = owner[owner >= 0]
    nearest = of_label[labels]
    joints = [np.stack([order[1:][shared], order[:-1][shared]], axis=1)]
    near = ring[nearest]
    for beside in NEIGHBOURS:
        here = tuple(slice(size) for size in near[beside].shape)
        borders = near[here] != near[beside]
        joints.append(np.stack([nearest[here][borders], nearest[beside][borders]], axis=1))
    return _spanning(np.concatenate(joints), points, ring)


def _spanning(joints: np.ndarray, points: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Those of the joints (n, 2) between points of two rings that join all rings by the least length."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree

    lengths = np.linalg.norm(points[joints[:, 0]] - points[joints[:, 1]], axis=1)
    ends = np.sort(ring[joints], axis=1)
    best = np.lexsort((lengths, ends[:, 1], ends[:, 0]))
    best = best[np.unique(ends[best], axis=0, return_index=True)[1]]
    count = int(ring[-1]) + 1
    # A weight of 0 would mean no edge.
    graph = coo_matrix((lengths[best] + 1, (ends[best, 0], ends[best, 1])), shape=(count, count)).tocsr()
    tree = minimum_spanning_tree(graph).tocoo()
    joint_of = {tuple(pair): i for pair, i in zip(ends[best].tolist(), best.tolist(), strict=True)}
    edges = np.sort(np.stack([tree.row, tree.col], axis=1), axis=1).tolist()
    return joints[[joint_of[tuple(pair)] for pair in edges]]


def _corners(walk: np.ndarray) -> np.ndarray:
    """The walk without repeated points and points in the middle of a straight line; three points at least."""
    walk = walk[(walk != np.roll(walk, 1, axis=0)).any(axis=1) | (np.arange(len(walk)) == 0)]
    before, after = walk - np.roll(walk, 1, axis=0), np.roll(walk, -1, axis=0) - walk
    straight = before[:, 0] * after[:, 1] == before[:, 1] * after[:, 0]
    kept = walk[~(straight & ((before * after).sum(axis=1) > 0))]
    return kept if len(kept) > 2 else np.concatenate([kept, np.repeat(kept[-1:], 3 - len(kept), axis=0)])
