from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stages.ops import peaks

QUICK = settings(deadline=None, max_examples=60)
SHAPES = st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(1, 6))
MAPS = SHAPES.flatmap(lambda s: hnp.arrays(np.float32, s, elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])))


def plain_window_peaks(response, window):
    height, width = response.shape
    reach, found = window // 2, np.zeros(response.shape, bool)
    median = np.sort(response.reshape(-1))[(response.size - 1) // 2]
    for y in range(height):
        for x in range(width):
            around = [
                (response[v, u], (v, u)) if 0 <= v < height and 0 <= u < width else (-np.inf, (v, u))
                for v in range(y - reach, y + reach + 1)
                for u in range(x - reach, x + reach + 1)
            ]
            best = max(value for value, _ in around)
            first = next(place for value, place in around if value == best)
            found[y, x] = first == (y, x) and response[y, x] >= median
    return found


def plain_pooled_peaks(response, window):
    reach, found = window // 2, np.zeros(response.shape, bool)
    for y, x in np.ndindex(response.shape):
        around = response[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        found[y, x] = response[y, x] == around.max()
    return found


@QUICK
@given(maps=MAPS, window=st.sampled_from([1, 3, 5]))
def test_window_peaks_equal_the_definition(place, host, maps, window):
    """CIM, official code: argmax of the window, ties to the first, and not below the lower median of the map."""
    expected = [plain_window_peaks(response, window) for response in maps]
    found = host(peaks.window_peaks(place(maps), window=window))
    assert np.array_equal(found, np.array(expected).reshape(maps.shape))


@QUICK
@given(maps=MAPS, window=st.sampled_from([1, 3, 15]))
def test_pooled_peaks_equal_the_definition(place, host, maps, window):
    """BESTIE, official code: pixels equal to their max-pool."""
    expected = [plain_pooled_peaks(response, window) for response in maps]
    found = host(peaks.pooled_peaks(place(maps), window=window))
    assert np.array_equal(found, np.array(expected).reshape(maps.shape))


PRM_CASES = {
    "one top": ([[0, 0, 0], [0, 9, 0], [0, 0, 0]], [(1, 1)]),
    "of a plateau the first": ([[0, 0, 0, 0], [0, 9, 9, 0], [0, 9, 9, 0], [0, 0, 0, 0]], [(1, 1)]),
    "a tie in the lower left loses to its upper right": ([[0, 9], [9, 0]], [(0, 1)]),
    "a flat map has its first pixel": ([[1, 1, 1], [1, 1, 1]], [(0, 0)]),
    "a local top below the median is none": (
        [[5, 5, 5, 0, 1, 0], [5, 5, 5, 0, 0, 0], [9, 5, 5, 5, 5, 5]],
        [(0, 0), (2, 0)],
    ),
    "a top at the border": ([[1, 2, 7], [0, 1, 2]], [(0, 2)]),
}


@pytest.mark.parametrize(("response", "expected"), PRM_CASES.values(), ids=PRM_CASES)
def test_prm_peaks_of_small_maps(place, host, response, expected):
    found = host(peaks.window_peaks(place(np.array([response], np.float32)), window=3))[0]
    assert [tuple(point) for point in np.argwhere(found).tolist()] == [*expected]


def test_median_of_an_even_number_of_pixels_is_the_lower_middle_one(place, host):
    """CIM, official code: torch.median."""
    assert host(peaks.lower_median(place(np.array([[[4.0, 1.0], [2.0, 3.0]]])))).tolist() == [2.0]


def test_a_peak_equal_to_the_median_counts(place, host):
    response = np.array([[[1, 0, 1, 0, 1, 1]]], np.float32)
    assert host(peaks.window_peaks(place(response), window=3))[0].tolist() == [[True, False, True, False, True, False]]


def test_batches_give_what_single_maps_give(place, host):
    maps = np.random.default_rng(0).normal(size=(2, 3, 9, 8)).astype(np.float32)
    for rule in (peaks.window_peaks, peaks.pooled_peaks):
        batched = host(rule(place(maps), window=3))
        single = [[host(rule(place(response[None]), window=3))[0] for response in image] for image in maps]
        assert np.array_equal(batched, single)


def test_a_single_map_needs_no_batch(place, host):
    response = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)
    for rule in (peaks.window_peaks, peaks.pooled_peaks):
        assert np.array_equal(host(rule(place(response), window=3)), host(rule(place(response[None]), window=3))[0])


def test_peaks_carry_no_gradient():
    maps = torch.zeros(1, 2, 4, 4, requires_grad=True)
    assert not peaks.window_peaks(maps, window=3).requires_grad


MAPS_TO_LIST = np.array([[[3.0, 0.0, 5.0], [0.0, 3.0, 0.05]], [[0.0, 0.0, 0.0], [7.0, 0.0, 8.0]]])
LISTS = {
    "row-major": ({}, [(0, 0, 0), (0, 0, 2), (0, 1, 1), (0, 1, 2), (1, 1, 0), (1, 1, 2)]),
    "by score, equal ones row-major": (
        {"by_score": True},
        [(0, 0, 2), (0, 0, 0), (0, 1, 1), (0, 1, 2), (1, 1, 2), (1, 1, 0)],
    ),
    "from a threshold on": ({"threshold": 5.0}, [(0, 0, 2), (1, 1, 0), (1, 1, 2)]),
    "the highest of each class, in row-major order": ({"limit": 2}, [(0, 0, 0), (0, 0, 2), (1, 1, 0), (1, 1, 2)]),
    "none": ({"threshold": 99.0}, []),
}


@pytest.mark.parametrize(("options", "expected"), LISTS.values(), ids=LISTS)
def test_lists_of_peaks(place, host, options, expected):
    found = peaks.list_peaks(place(MAPS_TO_LIST), place(MAPS_TO_LIST > 0), **options)
    classes, points, values = (host(part) for part in found)
    assert [(int(c), int(y), int(x)) for c, (y, x) in zip(classes, points, strict=True)] == expected
    assert values.tolist() == [MAPS_TO_LIST[place] for place in expected]
    assert points.shape == (len(expected), 2)


def test_bestie_points_are_the_25_best_of_each_class_down_to_a_tenth(place, host):
    """BESTIE, official code: 25 best per class, stop below 0.1, classes ascending, confidence falling."""
    maps = np.zeros((2, 7, 7))
    maps[1].reshape(-1)[:40] = np.linspace(0.95, 0.01, 40)
    classes, _, values = peaks.list_peaks(place(maps), place(maps > 0), threshold=0.1, limit=25, by_score=True)
    assert host(classes).tolist() == [1] * 25
    assert host(values).tolist() == maps[1].reshape(-1)[:25].tolist()


REFUSED = {
    "an even window": (lambda: peaks.window_peaks(np.zeros((1, 3, 3)), window=4), "window is 4, expected an odd"),
    "maps of integers": (lambda: peaks.pooled_peaks(np.zeros((1, 3, 3), int), window=3), "type int64"),
    "maps without pixels": (lambda: peaks.window_peaks(np.zeros((1, 0, 3)), window=3), r"shape \(1, 0, 3\)"),
    "peaks of other maps": (
        lambda: peaks.list_peaks(np.zeros((1, 3, 3)), np.zeros((2, 3, 3), bool)),
        r"maps \(1, 3, 3\) and peaks \(2, 3, 3\)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_with_what_was_found_and_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
