"""Ways of resizing images that a setting names."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.v2 import functional

from stages.ops.resize import nearest, opencv_bilinear, resize, resize_as, scaled_size

SIZES = pytest.mark.parametrize("size", [(20, 30), (90, 70), (41, 56)])


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (41, 56, 3), np.uint8)


@SIZES
def test_bicubic_is_what_timm_does_through_torchvision(rgb, size):
    expected = functional.resize(Image.fromarray(rgb), list(size), interpolation=functional.InterpolationMode.BICUBIC)
    found = resize_as(rgb, *size, interpolation="bicubic")
    assert found.shape == (*size, 3)
    assert np.array_equal(found, np.array(expected))


@SIZES
def test_the_ways_differ_unless_the_size_stays(rgb, size):
    ways = [resize_as(rgb, *size, interpolation=name) for name in ("area", "pillow", "bicubic")]
    assert np.array_equal(ways[0], resize(rgb, *size))
    same = size == rgb.shape[:2]
    assert [np.array_equal(ways[i], ways[j]) for i, j in ((0, 1), (0, 2), (1, 2))] == [same] * 3


def test_a_way_that_is_not_known_is_an_error(rgb):
    with pytest.raises(KeyError):
        resize_as(rgb, 10, 10, interpolation="nearest")


def test_area_averages_where_no_side_grows_and_two_neighbours_where_one_does(rgb):
    assert np.abs(resize(rgb[:40], 10, 56) - rgb[:40].reshape(10, 4, 56, 3).mean(axis=1)).max() <= 0.5
    assert np.abs(resize(rgb, 41, 14) - rgb.reshape(41, 14, 4, 3).mean(axis=2)).max() <= 0.5
    row = np.array([[0, 0, 0, 240]], np.uint8)[:, :, None].repeat(3, axis=2)
    assert resize(row, 1, 1)[0, 0, 0] == 60
    assert resize(row, 2, 1)[:, 0, 0].tolist() == [0, 0]
    assert resize(row.transpose(1, 0, 2), 1, 2)[0, :, 0].tolist() == [0, 0]
    assert resize(row[:, 2:], 1, 4)[0, :, 0].tolist() == [0, 60, 180, 240]


def test_a_small_factor_places_the_pixel_centers_unless_a_side_would_vanish():
    row = np.arange(0, 240, 20, dtype=np.uint8)[None, :, None].repeat(12, axis=0).repeat(3, axis=2)
    assert opencv_bilinear(row, 2, 2, factor=0.2)[0, :, 0].tolist() == [40, 140]
    assert opencv_bilinear(row, 2, 2)[0, :, 0].tolist() == [50, 170]
    assert opencv_bilinear(np.zeros((4000, 3, 3), np.uint8), 480, 1, factor=480 / 4000).shape == (480, 1, 3)


def test_nearest_takes_the_pixel_that_holds_the_center():
    assert nearest(np.array([[0, 1, 2]]), 1, 4).tolist() == [[0, 1, 1, 2]]
    assert nearest(np.array([[0], [1], [2], [3]]), 2, 2).tolist() == [[1, 1], [3, 3]]


def test_no_side_is_scaled_to_nothing():
    assert scaled_size(1, 1000, 100) == (1, 100)
    assert scaled_size(1000, 1, 100) == (100, 1)
