from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stages.ops import nms
from stages.ops.boxes import iou

QUICK = settings(deadline=None, max_examples=80)


@st.composite
def problems(draw):
    count, classes = draw(st.integers(0, 9)), draw(st.integers(0, 3))
    overlapping = draw(hnp.arrays(bool, (count, count)))
    scores = draw(hnp.arrays(np.float64, (count, classes), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0, -np.inf])))
    candidates = draw(hnp.arrays(bool, (count, classes)))
    return overlapping | overlapping.T, scores, candidates


def plain(overlapping, scores, candidates):
    """The definition: best first, equal scores by index, kept unless a kept one before overlaps."""
    kept = np.zeros(scores.shape, bool)
    for column in range(scores.shape[1]):
        chosen = []
        for number in sorted(np.flatnonzero(candidates[:, column]), key=lambda i: (-scores[i, column], i)):
            if not any(overlapping[number, other] for other in chosen):
                chosen.append(number)
        kept[chosen, column] = True
    return kept


@QUICK
@given(problem=problems())
def test_suppression_equals_the_greedy_definition_class_by_class(place, host, problem):
    overlapping, scores, candidates = problem
    found = host(nms.greedy(place(overlapping), place(scores), candidates=place(candidates)))
    assert np.array_equal(found, plain(overlapping, scores, candidates))


@QUICK
@given(problem=problems())
def test_rounds_on_a_device_reach_the_greedy_result(problem):
    found = nms._greedy_on_device(*(torch.tensor(part) for part in problem)).numpy()
    assert np.array_equal(found, plain(*problem))


@pytest.mark.parametrize("entries", [2000, 1])  # several classes in a block, and one that is larger than a block
def test_blocks_of_classes_give_what_all_classes_at_once_give(entries, monkeypatch):
    generator = np.random.default_rng(0)
    overlapping, scores = generator.random((30, 30)) < 0.1, generator.random((30, 7))
    overlapping |= overlapping.T
    candidates = generator.random((30, 7)) < 0.8
    monkeypatch.setattr(nms, "BLOCK_ENTRIES", entries)
    found = nms._greedy_on_device(*(torch.tensor(part) for part in (overlapping, scores, candidates))).numpy()
    assert np.array_equal(found, plain(overlapping, scores, candidates))


@pytest.mark.parametrize("length", [1, 2, 65])
def test_a_chain_keeps_every_second_one(place, host, length):
    """The longest dependence there is: each suppresses the next, so one more settles in each round."""
    overlapping = np.abs(np.subtract.outer(np.arange(length), np.arange(length))) == 1
    found = host(nms.greedy(place(overlapping), place(-np.arange(length, dtype=np.float64))))
    assert found.tolist() == [number % 2 == 0 for number in range(length)]


@pytest.mark.parametrize(("overlap", "second"), [(0.29, True), (0.3, False), (0.31, False)])
def test_an_overlap_equal_to_the_threshold_suppresses(place, host, overlap, second):
    """CIM, mining (survives when IoU < threshold) and test time (suppressed when IoU >= 0.3)."""
    matrix = np.array([[1, overlap], [overlap, 1]], np.float32)
    assert host(nms.mask_nms(place(matrix), place(np.array([0.9, 0.8])), 0.3)).tolist() == [True, second]


def test_equal_scores_go_by_index(place, host):
    together = np.ones((3, 3), np.float32)
    assert host(nms.mask_nms(place(together), place(np.array([0.5, 0.7, 0.7])), 0.5)).tolist() == [False, True, False]


def test_box_suppression_counts_one_pixel_more_on_demand(place, host):
    """CIM, official code: IoU 1/7 in half-open boxes, 4/14 with + 1; a threshold between shows which."""
    pair, scores = place(np.array([[0, 0, 2, 2], [1, 1, 3, 3]])), place(np.array([0.9, 0.8]))
    assert host(nms.box_nms(pair, scores, 0.2)).tolist() == [True, True]
    assert host(nms.box_nms(pair, scores, 0.2, inclusive=True)).tolist() == [True, False]


@QUICK
@given(seed=st.integers(0, 999))
def test_permuting_the_boxes_permutes_the_survivors(seed):
    generator = np.random.default_rng(seed)
    corners = generator.integers(0, 20, (12, 2))
    rectangles = np.concatenate([corners, corners + generator.integers(1, 12, (12, 2))], 1)
    scores, order = generator.permutation(12) / 12, generator.permutation(12)
    found = nms.box_nms(rectangles, scores, 0.4)
    assert np.array_equal(nms.box_nms(rectangles[order], scores[order], 0.4), found[order])
    assert np.array_equal(nms.mask_nms(iou(rectangles), scores, 0.4), found)


def test_only_candidates_survive_and_suppress(place, host):
    together = place(np.ones((3, 3), bool))
    scores, candidates = place(np.array([3.0, 2.0, 1.0])), place(np.array([False, True, True]))
    assert host(nms.greedy(together, scores, candidates=candidates)).tolist() == [False, True, False]


def test_half_precision_overlaps_are_compared_in_half_precision(place, host):
    """CIM, official code: 0.45 becomes 0.449951 in half precision, so an overlap stored as that suppresses."""
    matrix = np.array([[1, 0.45], [0.45, 1]], np.float16)
    assert float(matrix[0, 1]) < 0.45
    assert host(nms.mask_nms(place(matrix), place(np.array([0.9, 0.8])), 0.45)).tolist() == [True, False]


REFUSED = {
    "a score that is no number": ((np.zeros((2, 2), bool), np.array([0.5, np.nan])), "a score is NaN"),
    "overlaps of other regions": ((np.zeros((3, 3), bool), np.array([0.5, 0.6])), r"overlaps \(3, 3\), scores \(2,\)"),
    "scores of three axes": ((np.zeros((1, 1), bool), np.zeros((1, 1, 1))), r"scores \(1, 1, 1\)"),
    "overlaps that are numbers": ((np.zeros((2, 2)), np.array([0.5, 0.6])), "overlaps float64, expected bool"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_with_what_was_found_and_expected(arguments, message):
    with pytest.raises(ValueError, match=message):
        nms.greedy(*arguments)
