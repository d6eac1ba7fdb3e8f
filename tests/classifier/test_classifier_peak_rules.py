import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.classifier.network import enlarge
from stages.classifier.peak_rules import find_pooled_peaks, find_window_peaks
from stages.classifier.settings import PooledPeaksSettings, WindowPeaksSettings


def window_rule(**changes) -> WindowPeaksSettings:
    official = {"kind": "window", "upsampling": 1, "window": 3, "threshold": 10.0, "relative": False}
    return WindowPeaksSettings(**{**official, **changes})


def pooled_rule(**changes) -> PooledPeaksSettings:
    official = {"kind": "pooled", "smoothing": 3, "window": 15, "limit": 25, "threshold": 0.1}
    return PooledPeaksSettings(**{**official, **changes})


def as_list(peaks) -> list[tuple[int, int, int, float]]:
    return [
        (int(c), int(y), int(x), round(float(v), 4))
        for c, (y, x), v in zip(peaks.classes, peaks.points, peaks.scores, strict=True)
    ]


# Class 0 has peaks 30, 12 and 4; class 1 has a best peak of 9; class 2 is negative everywhere.
MAPS = torch.full((3, 5, 5), -5.0)
MAPS[0, 0, 0], MAPS[0, 2, 4], MAPS[0, 4, 1] = 30, 12, 4
MAPS[1, 1, 1], MAPS[1, 3, 3] = 9, 8
MAPS[2, 4, 4] = -1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {}, [(0, 0, 0, 30), (0, 2, 4, 12), (1, 1, 1, 9), (2, 4, 4, -1)], id="above 10, else the single best"
        ),
        pytest.param({"threshold": 12.0}, [(0, 0, 0, 30), (1, 1, 1, 9), (2, 4, 4, -1)], id="12 is not above 12"),
        pytest.param(
            {"threshold": 0.0},
            [(0, 0, 0, 30), (0, 2, 4, 12), (0, 4, 1, 4), (1, 1, 1, 9), (1, 3, 3, 8), (2, 4, 4, -1)],
            id="all positive",
        ),
        pytest.param(
            {"threshold": 0.3, "relative": True},
            [(0, 0, 0, 30), (0, 2, 4, 12), (1, 1, 1, 9), (1, 3, 3, 8), (2, 4, 4, -1)],
            id="relative to each class's largest response",
        ),
        pytest.param(
            {"threshold": 0.0, "relative": True},
            [(0, 0, 0, 30), (0, 2, 4, 12), (0, 4, 1, 4), (1, 1, 1, 9), (1, 3, 3, 8), (2, 4, 4, -1)],
            id="relative, a negative class keeps its best alone",
        ),
    ],
)
def test_peaks_above_the_threshold_and_the_best_of_a_class_without_one(changes, expected):
    """Official CIM: value > 10 as a raw logit; a class without such a peak has its best."""
    assert as_list(find_window_peaks(MAPS, np.arange(3), (5, 5), window_rule(**changes))) == expected


def test_only_wanted_classes_have_peaks():
    assert as_list(find_window_peaks(MAPS, np.array([1]), (5, 5), window_rule())) == [(1, 1, 1, 9)]
    assert {int(c) for c in find_pooled_peaks([MAPS], np.array([1]), (20, 20), pooled_rule()).classes} == {1}


def test_equal_values_and_the_lower_median_decide_as_in_prm():
    """A tie belongs to the first pixel of the window; a peak is not below the lower median."""
    maps = torch.tensor([[[2.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]])
    found = find_window_peaks(maps, np.array([0]), (2, 4), window_rule(threshold=-9.0))
    assert as_list(found) == [(0, 0, 0, 2), (0, 0, 3, 1)]
    low = torch.tensor([[[1.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]]])
    low[0, 0, 0] = 6
    low[0, 0, 4:] = torch.tensor([0.0, 3.0, 0.0])
    found = find_window_peaks(low, np.array([0]), (1, 7), window_rule(threshold=-9.0))
    assert as_list(found) == [(0, 0, 0, 6)], "3 is a maximum, but below the median 5"


@pytest.mark.parametrize(("size", "expected"), [((112, 112), (56, 70)), ((375, 500), (187, 312)), ((50, 60), (25, 37))])
def test_peak_goes_to_the_pixel_of_the_image_that_agpl_takes(size, expected):
    """Row int(r H / 112), column int(c W / 112) for a 14 x 14 map enlarged 8 times."""
    maps = torch.zeros(1, 14, 14)
    maps[0, 7, 9] = 50
    rule = window_rule(upsampling=8)
    row, column = divmod(int(enlarge(maps[None], 8)[0, 0].argmax()), 112)
    assert (row, column) == (60, 77)
    found = find_window_peaks(maps, np.array([0]), size, rule)
    assert as_list(found)[0][1:3] == (60 * size[0] // 112, 77 * size[1] // 112)
    assert abs(found.points[0] - np.array(expected)).max() <= 0.08 * max(size)


@hypothesis_settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), threshold=st.floats(0, 0.95), height=st.integers(1, 300), width=st.integers(1, 300))
def test_every_wanted_class_has_a_peak_within_the_image_in_order(seed, threshold, height, width):
    maps = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(seed))
    wanted = np.array([0, 2, 3])
    rule = window_rule(upsampling=4, threshold=threshold, relative=True)
    found = find_window_peaks(maps, wanted, (height, width), rule)
    assert np.unique(found.classes).tolist() == wanted.tolist()
    assert (found.points >= 0).all() and (found.points < [height, width]).all()
    keys = [(c, y * 1000 + x) for c, (y, x) in zip(found.classes, found.points, strict=True)]
    assert [key[0] for key in keys] == sorted(key[0] for key in keys)


def test_pooled_peaks_are_normalised_smoothed_limited_and_above_the_threshold():
    """Official BESTIE: value / (max + 1e-5), 3x3 mean with zero padding, 15x15 maxima, at least 0.1."""
    maps = torch.zeros(1, 40, 40)
    maps[0, 10, 10], maps[0, 30, 30], maps[0, 0, 39], maps[0, 39, 0] = 90.0, 45.0, 80.0, 5.0
    found = find_pooled_peaks([maps], np.array([0]), (40, 40), pooled_rule(threshold=0.05))
    corner = [entry for entry in as_list(found) if entry[1:3] == (0, 39)]
    assert corner == [(0, 0, 39, round(80 / 90 / 9, 4))], "zeros beyond the border count"
    values = {round(float(v), 4) for v in found.scores}
    assert values == {round(1 / 9, 4), round(0.5 / 9, 4), round(8 / 81, 4)}
    best = find_pooled_peaks([maps], np.array([0]), (40, 40), pooled_rule())
    assert {entry[3] for entry in as_list(best)} == {round(1 / 9, 4)}
    one = find_pooled_peaks([maps], np.array([0]), (40, 40), pooled_rule(limit=1))
    assert len(one.points) == 1


def test_pooled_peaks_average_the_normalised_passes_and_ignore_negative_responses():
    left, right = torch.full((1, 30, 30), -7.0), torch.full((1, 30, 30), -7.0)
    left[0, 5:8, 5:8], right[0, 20:23, 20:23] = 4.0, 400.0
    found = find_pooled_peaks([left, right], np.array([0]), (30, 30), pooled_rule())
    assert as_list(found) == [(0, 6, 6, 0.5), (0, 21, 21, 0.5)]


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        pytest.param(window_rule, {"window": 4}, "window is 4, expected an odd number", id="even window"),
        pytest.param(pooled_rule, {"smoothing": 2}, "smoothing is 2", id="even smoothing"),
        pytest.param(window_rule, {"relative": True}, "a share, from 0 to below 1", id="relative logit"),
    ],
)
def test_impossible_rules_are_refused(make, changes, message):
    with pytest.raises(ValidationError, match=message):
        make(**changes)
