"""The dense CRF: what it keeps, what it moves, and what it refuses."""

import numpy as np
import pytest

from stages.ops.crf import dense_crf, label_probabilities

USUAL = {
    "iterations": 5, "smooth_sxy": 3.0, "smooth_compat": 3.0, "colour_sxy": 30.0, "colour_srgb": 5.0,
    "colour_compat": 10.0,
}  # fmt: skip


@pytest.fixture
def halves():
    """An image of two colours, and labels whose border lies three pixels beside that of the colours."""
    rgb = np.zeros((24, 32, 3), np.uint8)
    rgb[:, 16:] = (200, 120, 40)
    labels = np.zeros((24, 32), int)
    labels[:, 13:] = 1
    return rgb, labels


def test_labels_follow_the_colours(halves):
    rgb, labels = halves
    found = dense_crf(rgb, label_probabilities(labels, 2, gt_prob=0.7), **USUAL).argmax(0)
    assert (found[:, :16] == 0).all()
    assert (found[:, 16:] == 1).all()


def test_the_term_of_colour_needs_colours_that_are_alike(halves):
    """With a standard deviation far above the difference of the colours the border stays where it was."""
    rgb, labels = halves
    blind = dense_crf(
        rgb, label_probabilities(labels, 2, gt_prob=0.7), **{**USUAL, "colour_srgb": 1e4, "colour_sxy": 1.0}
    )
    assert (blind.argmax(0)[4:-4] == labels[4:-4]).all()


def test_a_lonely_pixel_is_smoothed_away_by_the_term_of_position():
    rgb, labels = np.zeros((15, 15, 3), np.uint8), np.zeros((15, 15), int)
    labels[7, 7] = 1
    first = label_probabilities(labels, 2, gt_prob=0.7)
    assert not dense_crf(rgb, first, **{**USUAL, "colour_compat": 0.0}).argmax(0).any()
    without = dense_crf(rgb, first, **{**USUAL, "colour_compat": 0.0, "smooth_compat": 0.0})
    assert (without.argmax(0) == labels).all()


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 9)])
def test_probabilities_of_any_size_and_count_sum_to_one(count, size):
    generator = np.random.default_rng(count)
    rgb = generator.integers(0, 256, (*size, 3)).astype(np.uint8)
    first = generator.random((count, *size)).astype(np.float32)
    first /= first.sum(0)
    found = dense_crf(rgb, first, **USUAL)
    assert (found.shape, found.dtype) == (first.shape, np.float32)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-4)


def test_no_iterations_give_the_probabilities_back():
    first = np.random.default_rng(0).random((3, 5, 6)).astype(np.float32)
    rgb = np.zeros((5, 6, 3), np.uint8)
    np.testing.assert_array_equal(dense_crf(rgb, first, **{**USUAL, "iterations": 0}), first)


def test_labels_in_another_order_give_the_same_answer_in_that_order():
    generator = np.random.default_rng(1)
    rgb = generator.integers(0, 256, (12, 14, 3)).astype(np.uint8)
    first = generator.dirichlet([1, 1, 1], (12, 14)).transpose(2, 0, 1).astype(np.float32)
    order = [2, 0, 1]
    np.testing.assert_allclose(dense_crf(rgb, first[order], **USUAL), dense_crf(rgb, first, **USUAL)[order], atol=1e-4)


def test_a_probability_of_zero_is_no_infinite_energy():
    rgb, labels = np.zeros((6, 6, 3), np.uint8), np.zeros((6, 6), int)
    certain = (np.arange(2)[:, None, None] == labels).astype(np.float32)
    found = dense_crf(rgb, certain, **USUAL)
    assert np.isfinite(found).all()
    assert not found.argmax(0).any()


def test_arrays_that_are_views_are_read_as_they_look(halves):
    rgb, labels = halves
    first = label_probabilities(labels, 2, gt_prob=0.7)
    plain = dense_crf(np.ascontiguousarray(rgb[:, ::-1]), np.ascontiguousarray(first[:, :, ::-1]), **USUAL)
    np.testing.assert_array_equal(dense_crf(rgb[:, ::-1], first[:, :, ::-1], **USUAL), plain)


def test_label_probabilities_are_those_of_pydensecrf():
    """unary_from_labels with zero_unsure=False: -log of the gt_prob, and of an equal part of the rest."""
    from pydensecrf.utils import unary_from_labels

    labels = np.random.default_rng(0).integers(0, 4, (5, 7))
    energy = -np.log(label_probabilities(labels, 4, gt_prob=0.7).reshape(4, -1))
    np.testing.assert_allclose(energy, unary_from_labels(labels, 4, gt_prob=0.7, zero_unsure=False), rtol=1e-5)


@pytest.mark.parametrize(
    ("rgb", "probabilities", "message"),
    [
        pytest.param(np.zeros((4, 5, 3), np.uint8), np.ones((2, 5, 4)), r"uint8 \(4, 5, 3\), expected uint8 \(5, 4, 3\)", id="size"),
        pytest.param(np.zeros((4, 5, 3), np.float32), np.ones((2, 4, 5)), "float32", id="type"),
        pytest.param(np.zeros((4, 5, 3), np.uint8), np.full((2, 4, 5), np.nan), "not finite", id="nan"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(rgb, probabilities, message):
    with pytest.raises(ValueError, match=message):
        dense_crf(rgb, probabilities, **USUAL)
