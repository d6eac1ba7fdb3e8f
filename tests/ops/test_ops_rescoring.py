"""Scores of instances by how their masks agree with a semantic map, and by the best of the image."""

import numpy as np
import pytest

from stages.ops.regions import Regions
from stages.ops.rescoring import ious_with_map, rescored, shares_in_map, with_prior

SCORES = np.array([0.5, 0.8, 0.9, 0.4], np.float32)
CLASSES = np.array([2, 2, 2, 1])


@pytest.fixture
def scene():
    """Four masks (10, 20), and a map with 81 pixels of class 2, some uncertain ones, and none of class 1."""
    masks = np.zeros((4, 10, 20), bool)
    masks[0, :, :10], masks[1, :5, 5:15], masks[2, 9, 19], masks[3, :, :10] = True, True, True, True
    labels = np.zeros((10, 20), np.uint8)
    labels[:, :8], labels[0, 14], labels[5, 16:] = 3, 3, 255
    return Regions.from_masks(masks), labels


def test_share_is_of_the_mask_and_iou_of_both(scene):
    np.testing.assert_allclose(shares_in_map(scene[0], CLASSES, scene[1]), [80 / 100, 16 / 50, 0, 0])
    np.testing.assert_allclose(
        ious_with_map(scene[0], CLASSES, scene[1]), [80 / (100 + 81 - 80), 16 / (50 + 81 - 16), 0, 0]
    )


def test_no_mask_and_an_empty_one_agree_with_nothing(scene):
    none = scene[0].select([])
    empty = Regions.from_masks(np.zeros((1, 10, 20), bool))
    for agreement in (shares_in_map, ious_with_map):
        assert agreement(none, CLASSES[:0], scene[1]).shape == (0,)
        assert agreement(empty, CLASSES[:1], scene[1]).tolist() == [0]


def test_the_last_class_that_fits_a_byte_is_found():
    labels = np.full((2, 2), 254, np.uint8)
    assert shares_in_map(Regions.from_masks(np.ones((1, 2, 2), bool)), np.array([253]), labels).tolist() == [1]


def test_scores_are_multiplied_by_powers_of_the_agreement_and_of_the_best():
    agreement = np.array([0.8, 0.32, 0.0, 0.0])
    kept = np.array([0.8, 0.32, 1e-3, 1e-3])  # what shares no pixel is not lost
    for power in (0.5, 2.0):
        found = rescored(SCORES, agreement, map_power=power, best_power=0.0)
        np.testing.assert_allclose(found, SCORES * kept**power, rtol=1e-6)
        assert found.dtype == np.float32
    once = SCORES * kept
    both = rescored(SCORES, agreement, map_power=1.0, best_power=0.5)
    np.testing.assert_allclose(both, once * (once / once.max()) ** 0.5, rtol=1e-6)


def test_scores_without_powers_stay_and_those_of_nothing_are_none():
    assert (rescored(SCORES, None, map_power=1.0, best_power=0.0) == SCORES).all()
    assert (rescored(SCORES, np.full(4, 0.5), map_power=0.0, best_power=0.0) == SCORES).all()
    assert rescored(SCORES[:2], None, map_power=0.0, best_power=1.0).tolist() == pytest.approx([0.3125, 0.8])
    assert rescored(np.zeros(2, np.float32), None, map_power=0.0, best_power=1.0).tolist() == [0, 0]
    assert rescored(SCORES[:0], None, map_power=0.0, best_power=1.0).shape == (0,)


def test_the_prior_is_a_weighted_geometric_mean():
    scores, own = np.array([[0.5, 0.25]], np.float32), np.array([[0.125, 1.0]], np.float32)
    np.testing.assert_allclose(with_prior(scores, own, share=0.75), [[0.5**0.25 * 0.125**0.75, 0.25**0.25]], rtol=1e-6)
    assert with_prior(scores, own, share=0.0) is scores
    assert (with_prior(scores, own, share=1.0) == own).all()


def test_a_prior_of_a_source_without_class_scores_is_refused():
    scores = np.ones((1, 2), np.float32)
    assert with_prior(scores, None, share=0.0) is scores
    with pytest.raises(ValueError, match=r"scores no classes; set prior_share: 0, or take proposals of kind ranked"):
        with_prior(scores, None, share=0.5)
