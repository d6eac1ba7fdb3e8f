"""Merge trees against their plain definition."""

import cv2
import numpy as np
import pytest

from stages.proposals.features import describe_pixels
from stages.proposals.merging import CRITERIA, Criterion, joining_order, members, merge_tree
from stages.proposals.partition import partition
from stages.proposals.superpixels import Superpixels, describe_superpixels


def superpixels_of(seed: int) -> Superpixels:
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    rgb = cv2.resize(noise, (56, 40), interpolation=cv2.INTER_CUBIC)
    return describe_superpixels(
        partition(rgb, scale=10, sigma=0.5, min_size=15), describe_pixels(rgb, edge_sigmas=[1.0, 2.0])
    )


def plain_cost(s: Superpixels, space: str, c: Criterion, one: np.ndarray, other: np.ndarray) -> float:
    """The cost of joining two regions, from the superpixels alone; infinite where they do not touch."""
    touching = (one[s.pairs[:, 0]] & other[s.pairs[:, 1]]) | (other[s.pairs[:, 0]] & one[s.pairs[:, 1]])
    if not touching.any():
        return np.inf
    looks = []
    for region in (one, other):
        colour = s.colours[space][region].sum(axis=0) / (3 * s.areas[region].sum())
        texture = s.texture[region].sum(axis=0) / s.areas[region].sum()
        looks.append((colour, texture, s.areas[region].sum() / s.labels.size))
    (colour_1, texture_1, area_1), (colour_2, texture_2, area_2) = looks
    border = (s.lengths * s.edges)[touching].sum() / s.lengths[touching].sum()
    boxes = s.boxes[one | other]
    width, height = boxes[:, 2:].max(axis=0) - boxes[:, :2].min(axis=0)
    joint = width * height / s.labels.size
    look = c.colour * (1 - np.minimum(colour_1, colour_2).sum())
    look += c.texture * (1 - np.minimum(texture_1, texture_2).sum()) + c.border * border
    unfilled = joint - area_1 - area_2
    if c.scaled:
        return look * min(area_1, area_2) ** c.size * (1 + c.fill * unfilled / joint)
    return look + c.size * (area_1 + area_2) + c.fill * unfilled


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize(("space", "seed"), [("lab", 1), ("hsv", 2)])
def test_each_merge_joins_the_cheapest_neighbours(name: str, space: str, seed: int):
    s = superpixels_of(seed)
    count = len(s.areas)
    assert count > 8
    merges = merge_tree(s, space=space, criterion=CRITERIA[name])
    nodes = np.concatenate([np.eye(count, dtype=bool), members(merges, count)])
    current = set(range(count))
    for k, (one, other) in enumerate(merges):
        costs = {
            (i, j): plain_cost(s, space, CRITERIA[name], nodes[i], nodes[j]) for i in current for j in current if i < j
        }
        assert costs[one, other] <= min(costs.values()) + 1e-5  # histograms are float32
        current = current - {one, other} | {count + k}
    assert current == {2 * count - 2}
    assert nodes[-1].all()


def test_a_tree_does_not_change_the_superpixels():
    s = superpixels_of(3)
    before = [array.copy() for array in (s.pairs, s.lengths, s.edges, s.areas, s.boxes, s.texture)]
    merge_tree(s, space="lab", criterion=CRITERIA["contrast"])
    for old, new in zip(before, (s.pairs, s.lengths, s.edges, s.areas, s.boxes, s.texture), strict=True):
        np.testing.assert_array_equal(old, new)


def test_joining_order_is_the_share_of_merges_at_the_lowest_common_ancestor():
    merges = np.array([[1, 2], [3, 4], [0, 5]], np.int32)  # node 4 = {1, 2}, 5 = {1, 2, 3}, 6 = all
    pairs = np.array([[0, 1], [1, 2], [1, 3], [2, 3]], np.int32)
    np.testing.assert_allclose(joining_order(merges, pairs), [1, 1 / 3, 2 / 3, 2 / 3])
    np.testing.assert_array_equal(members(merges, 4), [[0, 1, 1, 0], [0, 1, 1, 1], [1, 1, 1, 1]])
