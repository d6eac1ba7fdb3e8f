"""Masks as COCO polygons: pycocotools' rasteriser gives the pixels back."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from stages.exports.polygons import polygons
from tests.exports.conftest import rectangle, ring

# pycocotools still calls NumPy as before 2.0.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def rasterised(parts: list[list[float]], shape: tuple[int, int]) -> np.ndarray:
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, *shape))).astype(bool)


@pytest.mark.parametrize(
    ("mask", "parts"),
    [
        pytest.param(rectangle(3, 9, 4, 20), 1, id="rectangle"),
        pytest.param(rectangle(5, 6, 7, 8), 1, id="one pixel"),
        pytest.param(rectangle(0, 24, 0, 32), 1, id="whole image"),
        pytest.param(rectangle(0, 4, 0, 4) | rectangle(10, 14, 20, 22), 2, id="two parts"),
        pytest.param(rectangle(0, 4, 0, 4) | rectangle(4, 8, 4, 8), 1, id="parts that touch in a corner"),
        pytest.param(rectangle(2, 20, 3, 25) & ~rectangle(6, 15, 8, 20), 1, id="hole"),
        pytest.param(ring(), 2, id="hole with an island"),
        pytest.param(rectangle(2, 20, 3, 25) & ~rectangle(4, 6, 5, 8) & ~rectangle(9, 15, 9, 20), 1, id="two holes"),
    ],
)
def test_polygons_cover_exactly_the_mask(mask, parts):
    found = polygons(mask, tolerance=0)
    assert len(found) == parts
    np.testing.assert_array_equal(rasterised(found, mask.shape), mask)


def test_an_empty_mask_has_no_polygon():
    assert polygons(np.zeros((4, 5), bool), tolerance=0) == []


def test_a_rectangle_has_its_four_corners_and_lies_on_corners_of_pixels():
    (found,) = polygons(rectangle(3, 9, 4, 20), tolerance=0)
    assert sorted(zip(found[::2], found[1::2], strict=True)) == [(4, 3), (4, 9), (20, 3), (20, 9)]


@settings(max_examples=150)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 20), width=st.integers(1, 20), density=st.floats(0.05, 0.95))
def test_any_mask_comes_back_pixel_by_pixel(seed, height, width, density):
    mask = np.random.default_rng(seed).random((height, width)) < density
    found = polygons(mask, tolerance=0)
    assert bool(found) == mask.any()
    assert all(len(part) >= 8 for part in found)
    if found:
        np.testing.assert_array_equal(rasterised(found, mask.shape), mask)


@pytest.mark.parametrize("tolerance", [1.0, 3.0])
def test_tolerance_leaves_corners_out_and_keeps_the_shape(tolerance):
    mask = np.zeros((120, 160), np.uint8)
    cv2.ellipse(mask, (80, 60), (60, 45), 20, 0, 360, 1, cv2.FILLED)
    cv2.circle(mask, (90, 60), 18, 0, cv2.FILLED)
    mask = mask.astype(bool)
    exact, simple = polygons(mask, tolerance=0), polygons(mask, tolerance=tolerance)
    assert len(simple[0]) < len(exact[0]) / 2
    again = rasterised(simple, mask.shape)
    assert (again & mask).sum() / (again | mask).sum() > 0.9
    # No pixel farther from the border than the tolerance changed.
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert np.maximum(inside, outside)[again != mask].max(initial=0) <= tolerance + 1


def test_a_part_smaller_than_the_tolerance_stays():
    mask = rectangle(5, 6, 7, 8)
    np.testing.assert_array_equal(rasterised(polygons(mask, tolerance=5.0), mask.shape), mask)
