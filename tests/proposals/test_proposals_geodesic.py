"""Geodesic level sets on small graphs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from stages.proposals.geodesic import distances, graph, level_sets


@settings(deadline=None, max_examples=50)  # the first call compiles
@given(st.integers(2, 12), st.integers(0, 1000))
def test_distances_are_those_of_scipy(count: int, seed: int):
    generator = np.random.default_rng(seed)
    pairs = np.array([(i, j) for i in range(count) for j in range(i + 1, count) if generator.random() < 0.4], np.int32)
    pairs = pairs.reshape(-1, 2)
    weights = generator.random(len(pairs)) + 0.1
    sources = np.arange(count) < generator.integers(1, count)
    matrix = csr_matrix((weights, pairs.T), shape=(count, count))
    expected = dijkstra(matrix, directed=False, indices=np.flatnonzero(sources), min_only=True)
    np.testing.assert_allclose(distances(graph(pairs, weights, count), sources), expected)


def test_level_sets_are_cut_where_the_distance_jumps():
    """A chain with a high step between superpixels 3 and 4; its right end is the border, so the seed is the left end."""
    pairs = np.array([[k, k + 1] for k in range(7)], np.int32)
    weights = np.array([0.1, 0.1, 0.1, 5.0, 0.1, 0.1, 0.1])
    areas = np.full(8, 1 / 8)
    found = level_sets(graph(pairs, weights, 8), areas, np.arange(8) == 7, 1, 1, 0.0, 0.0, 0.9)
    np.testing.assert_array_equal(found, [[True] * 4 + [False] * 4] * 2)


def test_level_sets_keep_to_the_admissible_areas_and_a_quarter_apart():
    generator = np.random.default_rng(0)
    pairs = np.array([[k, k + 1] for k in range(49)], np.int32)
    areas = np.full(50, 1 / 50)
    on_border = np.isin(np.arange(50), [0, 49])
    found = level_sets(graph(pairs, generator.random(49) + 0.01, 50), areas, on_border, 5, 4, 0.5, 0.1, 0.6)
    shares = found.mean(axis=1).reshape(-1)
    assert len(found) > 10
    assert shares.min() >= 0.1 - 1e-9
    assert shares.max() <= 0.6 + 1e-9


def test_without_a_distance_there_are_no_seeds():
    pairs = np.array([[0, 1]], np.int32)
    found = level_sets(graph(pairs, np.ones(1), 2), np.full(2, 0.5), np.ones(2, bool), 10, 6, 0.5, 0.0, 1.0)
    assert found.shape == (0, 2)
