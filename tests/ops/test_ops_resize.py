"""Ways of resizing images that a setting names."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.v2 import functional

from stages.ops.resize import resize, resize_as

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
