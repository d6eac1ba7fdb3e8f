"""Overlaps from atom maps equal those from masks; best overlap and recall."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stages.evaluation.best_overlap import (
    average_best_overlap,
    best_overlaps,
    class_average_best_overlap,
    concatenated,
    mean_average_best_overlap,
    recall,
)
from stages.evaluation.overlaps import Overlaps, overlaps_with_ground_truth, shared_pixels
from stages.ops.regions import Regions


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(), height=st.integers(1, 7), width=st.integers(1, 7), count=st.integers(0, 5), other=st.integers(0, 5)
)
def test_shared_pixels_equal_those_of_the_masks(data, height: int, width: int, count: int, other: int) -> None:
    first = data.draw(arrays.arrays(bool, (count, height, width)))
    second = data.draw(arrays.arrays(bool, (other, height, width)))
    counted = data.draw(arrays.arrays(bool, (height, width)))
    regions = Regions.from_masks(np.concatenate([second, counted[None]]))
    inner = Regions(regions.atoms, regions.membership[:-1], regions.sizes)
    shared = shared_pixels(Regions.from_masks(first), inner, counted=regions.membership[-1])
    first, second = first & counted, second & counted
    np.testing.assert_array_equal(shared.both, (first[:, None] & second[None]).sum((2, 3)))
    np.testing.assert_array_equal(shared.first, first.sum((1, 2)))
    np.testing.assert_array_equal(shared.second, second.sum((1, 2)))
    union = (first[:, None] | second[None]).sum((2, 3))
    np.testing.assert_array_equal(shared.iou, shared.both / np.maximum(union, 1))


def test_masks_of_another_size_are_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match="masks of 4x5 and of 5x4 pixels cannot overlap"):
        shared_pixels(Regions.empty(4, 5), Regions.empty(5, 4))


def test_void_background_punishes_covering_it_and_ignore_does_not(records) -> None:
    ring = np.zeros((6, 10), bool)
    ring[0:4, 4] = True  # one column right of the object
    ground_truth = records.ground_truth("a", [(0, 4, 0, 4)], void=ring)
    found = records.instances("a", [(0, 4, 0, 5)])
    assert overlaps_with_ground_truth(found, ground_truth, void="background").overlap == pytest.approx(16 / 20)
    assert overlaps_with_ground_truth(found, ground_truth, void="ignore").overlap == pytest.approx(1)


def test_overlap_with_a_crowd_is_the_share_of_the_prediction(records) -> None:
    ground_truth = records.ground_truth("a", [(0, 4, 0, 10), (0, 4, 0, 10)], crowd=[True, False])
    found = records.instances("a", [(2, 6, 0, 5)])
    shown = overlaps_with_ground_truth(found, ground_truth, void="background")
    assert shown.overlap.tolist() == [[10 / 20, 10 / (20 + 40 - 10)]]


def test_an_empty_prediction_overlaps_nothing(records) -> None:
    ground_truth = records.ground_truth("a", [(0, 4, 0, 4), (0, 4, 0, 4)], crowd=[False, True])
    found = records.instances("a", [(0, 0, 0, 0)])
    assert overlaps_with_ground_truth(found, ground_truth, void="background").overlap.tolist() == [[0, 0]]


@pytest.mark.parametrize("scores", [[np.nan, np.nan], [0.5, np.nan], [np.inf, 0.5]])
def test_scores_that_are_not_finite_are_refused(records, scores) -> None:
    found = records.instances("a", [(0, 4, 0, 4), (0, 2, 0, 2)], scores=scores)
    with pytest.raises(ValueError, match=r"image 'a' hold scores that are not finite"):
        overlaps_with_ground_truth(found, records.ground_truth("a"), void="background")


def test_size_error_names_the_image(records) -> None:
    found = records.instances("a", [(0, 1, 0, 1)], size=(5, 5))
    with pytest.raises(ValueError, match=r"image 'a': .*masks of 5x5 and of 6x10 pixels"):
        overlaps_with_ground_truth(found, records.ground_truth("a"), void="background")


def test_best_overlap_looks_at_the_same_class_and_counts_the_unpredicted_as_zero() -> None:
    shown = Overlaps(
        scores=np.array([0.9, 0.8]),
        classes=np.array([0, 1]),
        overlap=np.array([[0.4, 0.9, 0.2], [0.8, 0.6, 0.3]]),
        ground_truth_classes=np.array([0, 1, 2]),
        crowd=np.zeros(3, bool),
        difficult=np.zeros(3, bool),
    )
    assert best_overlaps(shown).tolist() == [0.4, 0.6, 0.0]


def test_abo_is_over_instances_and_mabo_over_classes() -> None:
    best, classes = np.array([0.9, 0.7, 0.2]), np.array([0, 0, 2])
    assert average_best_overlap(best) == pytest.approx(0.6)
    np.testing.assert_allclose(class_average_best_overlap(best, classes, 3), [0.8, np.nan, 0.2])
    assert mean_average_best_overlap(best, classes, 3) == pytest.approx(0.5)


def test_recall_includes_an_overlap_equal_to_the_threshold() -> None:
    np.testing.assert_allclose(recall(np.array([0.5, 0.7, 0.2, 0.9]), [0.5, 0.7, 0.85]), [3 / 4, 2 / 4, 1 / 4])
    assert np.isnan(recall(np.zeros(0), [0.5])).all()


def test_values_of_all_images_are_one_array_also_of_none() -> None:
    joined = concatenated([np.array([0.5]), np.zeros(0), np.array([1.0, 2.0])])
    assert (joined.tolist(), joined.dtype) == ([0.5, 1.0, 2.0], np.float64)
    assert (concatenated([]).shape, concatenated([], np.int64).dtype) == ((0,), np.int64)
    assert concatenated([np.array([1.5])], np.int64).tolist() == [1]
