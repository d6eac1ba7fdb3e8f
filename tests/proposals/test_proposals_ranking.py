"""Overlaps, scores and suppression against their plain definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.proposals.features import describe_pixels
from stages.proposals.ranking import Pairs, overlapping, scores, suppress
from stages.proposals.superpixels import describe_superpixels


def random_regions(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    areas = generator.integers(1, 50, 12)
    regions = generator.random((count, 12)) < generator.random((count, 1))
    regions[np.arange(count), generator.integers(0, 12, count)] = True
    return regions, areas


def plain_iou(regions: np.ndarray, areas: np.ndarray) -> np.ndarray:
    common = (regions[:, None] & regions) @ areas
    return (common / ((regions[:, None] | regions) @ areas)).astype(np.float32)


@settings(deadline=None, max_examples=50)  # the first call compiles
@given(st.integers(0, 10_000), st.integers(1, 30), st.floats(0.05, 0.95))
def test_overlapping_finds_exactly_the_pairs_above_the_threshold(seed: int, count: int, above: float):
    regions, areas = random_regions(seed, count)
    found = overlapping(regions, areas, above=above)
    iou = plain_iou(regions, areas)
    expected = {(i, j): iou[i, j] for i in range(count) for j in range(i) if iou[i, j] > np.float32(above)}
    pairs = {(max(i, j), min(i, j)): v for i, j, v in zip(found.first, found.second, found.iou, strict=True)}
    assert len(pairs) == len(found.first)
    assert pairs == expected


@settings(deadline=None, max_examples=50)  # the first call compiles
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 10))
def test_suppression_is_greedy(seed: int, count: int, keep: int):
    regions, areas = random_regions(seed, count)
    ranks = np.random.default_rng(seed).integers(0, 5, count).astype(np.float32)
    iou = plain_iou(regions, areas)
    kept: list[int] = []
    for i in sorted(range(count), key=lambda i: (-ranks[i], i)):
        if len(kept) < keep and all(iou[i, j] <= np.float32(0.6) for j in kept):
            kept.append(i)
    found = suppress(ranks, overlapping(regions, areas, above=0.6), overlap=0.6, count=keep)
    np.testing.assert_array_equal(found, kept)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("contour", [0.5, 0.9]),  # mean edge of the cut borders: 0|1 = .1 and 1|2 = .9 ; 1|2
        ("inside", [0.0, -0.1]),  # border 0|1 lies inside the second region
        ("border", [-2 / 6, -6 / 8]),  # region 1: 2 of 6 sides; regions 0 + 1: 6 of 8
        ("area", [np.log(4 / 12), np.log(0.5)]),  # capped at area_enough
        ("agreement", [np.log1p(0.4), np.log1p(0.4)]),  # IoU .5: no support but each region's own
        ("roundness", [np.log(4 * np.pi * 4 / 36 + 0.02), np.log(4 * np.pi * 8 / 64 + 0.02)]),
    ],
)
def test_each_term_of_the_score_is_what_its_name_says(term: str, expected: list[float], heg_settings):
    """Three superpixels of 2 x 2 pixels in a row, with borders of edge strength .1 and .9; regions {1} and {0, 1}."""
    labels = np.repeat(np.repeat(np.array([[0, 1, 2]], np.int32), 2, axis=0), 2, axis=1)
    superpixels = describe_superpixels(labels, describe_pixels(np.zeros((2, 6, 3), np.uint8), edge_sigmas=[1.0]))
    superpixels = superpixels._replace(edges=np.array([0.1, 0.9], np.float32), border=np.array([4, 2, 4]))
    superpixels = superpixels._replace(lengths=np.array([2, 2], np.float32))
    regions = np.array([[False, True, False], [True, True, False]])
    none = dict.fromkeys(("agreement", "contour", "inside", "border", "area", "roundness"), 0.0)
    weights = heg_settings(ranking={**none, term: 1.0, "area_enough": 0.5}).ranking
    pairs = Pairs(np.array([0]), np.array([1]), np.array([0.5], np.float32))
    np.testing.assert_allclose(scores(regions, superpixels, pairs, weights), expected, rtol=1e-5)
