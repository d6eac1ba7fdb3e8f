from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ops import boxes

QUICK = settings(deadline=None, max_examples=50)
SPANS = st.tuples(st.integers(0, 12), st.integers(0, 6))
BOX = st.tuples(SPANS, SPANS).map(lambda spans: [spans[0][0], spans[1][0], sum(spans[0]), sum(spans[1])])
BOXES = st.lists(BOX, max_size=6).map(lambda rows: np.array(rows, np.int32).reshape(-1, 4))


def raster(box, *, side=20):
    mask = np.zeros((side, side), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


@QUICK
@given(ours=BOXES, theirs=BOXES)
def test_overlap_of_boxes_is_that_of_their_pixels(place, host, ours, theirs):
    expected = [[(raster(a) & raster(b)).sum() / max((raster(a) | raster(b)).sum(), 1) for b in theirs] for a in ours]
    found = host(boxes.iou(place(ours), place(theirs)))
    assert found.dtype == np.float32
    assert np.array_equal(found, np.array(expected, np.float32).reshape(len(ours), len(theirs)))


@QUICK
@given(ours=BOXES)
def test_inclusive_overlap_is_that_of_boxes_one_pixel_larger(place, host, ours):
    """CIM, official code: widths and heights with + 1."""
    larger = ours + np.array([0, 0, 1, 1], np.int32)
    assert np.array_equal(host(boxes.iou(place(ours), inclusive=True)), host(boxes.iou(place(larger))))
    assert np.array_equal(host(boxes.areas(place(ours), inclusive=True)), host(boxes.areas(place(larger))))


def test_hand_computed_overlap_of_two_boxes(place, host):
    pair = place(np.array([[0, 0, 2, 2], [1, 1, 3, 3]]))
    assert host(boxes.areas(pair)).tolist() == [4, 4]
    assert host(boxes.iou(pair)).tolist() == np.float32([[1, 1 / 7], [1 / 7, 1]]).tolist()
    assert host(boxes.iou(pair, inclusive=True)).tolist() == np.float32([[1, 4 / 14], [4 / 14, 1]]).tolist()


def test_boxes_that_end_before_they_start_have_no_area_and_no_overlap(place, host):
    odd = place(np.array([[5, 5, 3, 9], [0, 0, 9, 9], [2, 2, 2, 2]]))
    assert host(boxes.areas(odd)).tolist() == [0, 81, 0]
    assert host(boxes.iou(odd)).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_clip_to_the_image(place, host):
    outside = place(np.array([[-3, 2, 12, 8], [0, 0, 10, 6]]))
    assert host(boxes.clip(outside, 6, 10)).tolist() == [[0, 2, 10, 6], [0, 0, 10, 6]]


def test_official_clip_takes_a_pixel_from_boxes_at_the_right_and_bottom_border(place, host):
    """CIM, official code: RoIs are clipped to [0, W - 1] and [0, H - 1]."""
    found = host(boxes.clip(place(np.array([[0, 0, 10, 6], [1, 1, 9, 5]])), 6, 10, inclusive=True))
    assert found.tolist() == [[0, 0, 9, 5], [1, 1, 9, 5]]


@QUICK
@given(ours=BOXES)
def test_flip_is_that_of_the_pixels(place, host, ours):
    mirrored = host(boxes.flip(place(ours), 20))
    for box, mirror in zip(ours, mirrored, strict=True):
        assert np.array_equal(raster(mirror), raster(box)[:, ::-1])
    assert np.array_equal(host(boxes.flip(boxes.flip(place(ours), 20), 20)), ours)


def test_official_flip_lies_one_pixel_further_left(place, host):
    """CIM, official code: x1' = W - x2 - 1, x2' = W - x1 - 1 on boxes that are half-open."""
    found = host(boxes.flip(place(np.array([[2, 1, 5, 4]])), 10, inclusive=True))
    assert found.tolist() == [[4, 1, 7, 4]]


def test_scale_by_the_factors_of_both_sides(place, host):
    found = host(boxes.scale(place(np.array([[2, 1, 5, 4]])), y=2.0, x=0.5))
    assert found.tolist() == [[1, 2, 2.5, 8]]
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", ["areas", "iou", "clip", "scale", "flip"])
def test_no_boxes_give_no_boxes(place, host, name):
    extra = {"clip": (6, 10), "scale": (1.0, 1.0), "flip": (10,)}.get(name, ())
    found = host(getattr(boxes, name)(place(np.zeros((0, 4), np.int32)), *extra))
    assert found.shape == {"areas": (0,), "iou": (0, 0)}.get(name, (0, 4))


def test_refuses_what_are_no_boxes():
    with pytest.raises(ValueError, match=r"shape \(3, 2\), expected \(boxes, 4\)"):
        boxes.iou(np.zeros((3, 2)))
