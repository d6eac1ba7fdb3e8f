"""One closed outline a mask: what OpenCV fills of it is the mask, and bridges between its parts."""

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.exports.outlines import outline
from tests.exports.conftest import rectangle, ring


def filled(line: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.fillPoly(np.zeros(shape, np.uint8), [line.astype(np.int32)], 1).astype(bool)


@pytest.mark.parametrize(
    ("mask", "corners"),
    [
        pytest.param(rectangle(3, 9, 4, 20), 4, id="rectangle"),
        pytest.param(rectangle(5, 6, 7, 8), 3, id="one pixel"),
        pytest.param(rectangle(5, 6, 7, 12), 3, id="one row"),
        pytest.param(rectangle(0, 24, 0, 32), 4, id="whole image"),
        pytest.param(rectangle(0, 4, 0, 4) | rectangle(4, 8, 4, 8), None, id="parts that touch in a corner"),
        pytest.param(rectangle(2, 20, 3, 25) & ~rectangle(6, 15, 8, 20), None, id="hole"),
        pytest.param(rectangle(2, 20, 3, 25) & ~rectangle(4, 6, 5, 8) & ~rectangle(9, 15, 9, 20), None, id="holes"),
        pytest.param(rectangle(2, 8, 3, 25) & ~rectangle(3, 7, 4, 9) & ~rectangle(3, 7, 10, 24), None, id="thin walls"),
    ],
)
def test_a_mask_in_one_part_comes_back_pixel_by_pixel_with_its_holes(mask, corners):
    line, added, left_out = outline(mask)
    np.testing.assert_array_equal(filled(line, mask.shape), mask)
    assert added == left_out == 0
    assert corners in (None, len(line))


def test_parts_apart_are_joined_by_the_shortest_bridge():
    mask = rectangle(2, 8, 2, 6) | rectangle(2, 8, 9, 14) | rectangle(12, 20, 9, 14)
    line, added, _ = outline(mask)
    back = filled(line, mask.shape)
    assert back[mask].all()
    assert added == (back & ~mask).sum() == 3 + 4
    assert cv2.connectedComponents(back.astype(np.uint8))[0] == 2


def test_an_island_in_a_hole_is_joined_too():
    line, added, _ = outline(ring())
    back = filled(line, ring().shape)
    assert back[ring()].all()
    assert added == (back & ~ring()).sum() == 3


@pytest.mark.parametrize(("apart", "kept"), [(3, True), (4, True), (5, False)])
def test_a_part_smaller_than_the_bridge_to_it_is_left_out(apart, kept):
    mask = rectangle(2, 12, 2, 12) | rectangle(5, 7, 12 + apart, 14 + apart)
    line, added, left_out = outline(mask)
    assert (added, left_out) == ((apart, 0) if kept else (0, 4))
    np.testing.assert_array_equal(filled(line, mask.shape)[:, 12 + apart :], mask[:, 12 + apart :] & kept)


def test_a_speck_on_the_way_to_a_large_part_is_taken_along():
    mask = rectangle(0, 10, 0, 10) | rectangle(5, 6, 14, 15) | rectangle(0, 10, 19, 29)
    _, added, left_out = outline(mask)
    assert (added, left_out) == (8, 0)


def test_a_ring_with_holes_far_from_a_larger_part_is_left_out_with_them():
    far = rectangle(20, 23, 29, 32) & ~rectangle(21, 22, 30, 31)
    mask = rectangle(0, 8, 0, 8) | far
    line, added, left_out = outline(mask)
    assert (added, left_out) == (0, 8)
    np.testing.assert_array_equal(filled(line, mask.shape), mask & ~far)


@settings(max_examples=150)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 20), width=st.integers(1, 20), density=st.floats(0.05, 0.98))
def test_what_is_shown_differs_by_what_is_said_and_never_more_than_the_largest_part(seed, height, width, density):
    mask = np.random.default_rng(seed).random((height, width)) < density
    if not mask.any():
        return
    line, added, left_out = outline(mask)
    back = filled(line, mask.shape)
    sizes = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    assert (added, left_out) == ((back & ~mask).sum(), (mask & ~back).sum())
    assert added + left_out <= mask.sum() - sizes.max()
    assert len(line) >= 3


def test_a_large_mask_with_thousands_of_parts_takes_no_time():
    mask = np.random.default_rng(0).random((200, 200)) < 0.3
    start = time.process_time()
    line, added, left_out = outline(mask)
    assert time.process_time() - start < 3
    assert (filled(line, mask.shape) ^ mask).sum() == added + left_out < mask.sum() / 4
