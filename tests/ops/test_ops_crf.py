"""The dense CRF: what it keeps, what it moves, and what it refuses."""

import numpy as np
import pytest

from stages.ops.crf import dense_crf, label_probabilities, leaning, object_crf

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


def cut(rgb, probabilities, boxes, *, wanted=None, **crf):
    wanted = np.ones(len(boxes), bool) if wanted is None else np.array(wanted)
    return object_crf(
        rgb, probabilities, boxes, wanted=wanted, threshold=0.5, widening=2.0, crf={**USUAL, "iterations": 3, **crf}
    )


def test_objects_that_are_not_wanted_and_that_the_crf_empties_stand_as_they_are():
    soft = np.zeros((3, 20, 20), np.float32)
    soft[:, 5:15, 5:15] = 0.9
    soft[1, 5:15, 5:15] = 0
    soft[1, 10, 10] = 0.6  # noise, which a CRF takes for background
    boxes = np.tile(np.array([5, 5, 15, 15], np.float32), (3, 1))
    black = np.zeros((20, 20, 3), np.uint8)
    masks = cut(black, soft, boxes, wanted=[True, True, False])
    assert masks[1].sum() == 1
    assert masks[2].sum() == 100
    assert (cut(black, soft, boxes, iterations=0) == (soft >= 0.5)).all()
    assert cut(black, soft[:0], boxes[:0]).shape == (0, 20, 20)


def test_an_object_follows_the_colours_of_its_own(halves):
    rgb, labels = halves
    soft = np.where(labels == 1, 0.8, 0.2).astype(np.float32)[None]
    mask = cut(rgb, soft, np.array([[13, 0, 32, 24]], np.float32))[0]
    assert not mask[:, :16].any()
    assert mask[:, 16:].all()


@pytest.mark.parametrize("box", [(8, 8, 16, 16), (-6, -6, 2, 2), (36, 30, 60, 50), (50, 50, 60, 60)])
def test_the_crf_of_an_object_sees_its_box_and_what_is_around_it_alone(box):
    rng = np.random.default_rng(4)
    rgb = rng.integers(0, 255, (40, 48, 3), np.uint8)
    x0, y0, x1, y1 = box
    soft = np.zeros((1, 40, 48), np.float32)
    soft[0, max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = 0.7
    inside = np.zeros((40, 48), bool)  # twice as wide and high as the box, and the pixels that it cuts
    rows, columns = (y0 + y1) / 2, (x0 + x1) / 2
    high, wide = y1 - y0, x1 - x0
    inside[max(int(rows - high), 0) : int(rows + high) + 1, max(int(columns - wide), 0) : int(columns + wide) + 1] = (
        True
    )
    other = np.where(inside[:, :, None], rgb, 255 - rgb)
    first, second = (cut(image, soft, np.array([box], np.float32)) for image in (rgb, other))
    assert (first == second).all()
    assert not (first[0] & ~inside).any()


def test_an_object_leans_towards_the_pixels_where_another_source_agrees():
    inside = np.array([[0.0, 0.5, 0.5, 1.0]], np.float32)
    agrees = np.array([[True, True, False, False]])
    before = np.array([0.02, 0.5, 0.5, 0.98])
    logit = np.log(before / (1 - before)) + np.array([1.5, 1.5, -1.5, -1.5])
    np.testing.assert_allclose(leaning(inside, agrees, weight=1.5)[0], 1 / (1 + np.exp(-logit)), rtol=1e-6)
    for unasked in (leaning(inside, None, weight=1.5), leaning(inside, agrees, weight=0.0)):
        np.testing.assert_allclose(unasked[0], [0.02, 0.5, 0.5, 0.98], rtol=1e-6)


def test_a_probability_below_a_hundred_thousandth_counts_as_that():
    """Without any term of neighbours inference gives the probabilities back as the CRF takes them."""
    first = np.broadcast_to(np.array([0.0, 1e-6, 1.0])[:, None, None], (3, 4, 4))
    alone = {**USUAL, "iterations": 1, "smooth_compat": 0.0, "colour_compat": 0.0}
    found = dense_crf(np.zeros((4, 4, 3), np.uint8), first, **alone)
    np.testing.assert_allclose(found[:2], 1e-5, rtol=1e-3)
