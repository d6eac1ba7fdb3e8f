"""Windows of an image, and masks that are kept within theirs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ops import partition
from stages.ops.regions import Regions
from stages.ops.windows import Window, WindowedMask, regions_of, widened, windowed


@pytest.mark.parametrize(
    ("other", "empty"),
    [
        pytest.param(Window(0, 0, 4, 5), False, id="the same"),
        pytest.param(Window(3, 4, 4, 5), False, id="a pixel in a corner"),
        pytest.param(Window(4, 0, 4, 5), True, id="side by side below"),
        pytest.param(Window(0, 5, 4, 5), True, id="side by side to the right"),
        pytest.param(Window(9, 9, 4, 5), True, id="apart"),
    ],
)
def test_windows_that_share_a_border_alone_have_no_common_pixel(other, empty):
    common = Window(0, 0, 4, 5).common(other)
    assert common.empty == empty
    mask = WindowedMask.of(np.ones((4, 5), bool))
    assert mask.inside(other).size == (0 if empty else common.height * common.width)
    assert not empty or mask.inside(other).shape == (0, 0)


def test_a_window_counts_from_the_first_pixel_of_another():
    assert Window(7, 9, 2, 3).seen_from(Window(5, 4, 9, 9)) == Window(2, 5, 2, 3)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        pytest.param((4, 2, 8, 4), (1, 6), (2, 11), id="about the same center"),
        pytest.param((0, 0, 4, 2), (0, 4), (0, 7), id="cut above and to the left"),
        pytest.param((26, 18, 30, 20), (17, 20), (24, 30), id="cut below and to the right"),
        pytest.param((40, 30, 44, 32), (19, 20), (29, 30), id="a pixel where the box lies beyond"),
        pytest.param((-9, -9, -7, -7), (0, 1), (0, 1), id="or before"),
    ],
)
def test_a_box_is_widened_about_its_center_and_cut_at_the_image(box, rows, columns):
    """Twice the sides, and the pixels that the widened border touches."""
    found = widened(np.array(box, np.float64), 2.0, (20, 30))
    assert [(part.start, part.stop) for part in found] == [rows, columns]


@settings(deadline=None, max_examples=40)
@given(count=st.integers(0, 5), band=st.sampled_from([1, 7, 1 << 22]), seed=st.integers(0, 10**6))
def test_regions_of_windowed_masks_are_those_of_the_full_masks(count, band, seed):
    """Worked on in bands of rows, too."""
    masks = np.random.default_rng(seed).random((count, 6, 5)) < 0.4
    expected = Regions.from_masks(masks)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(partition, "BAND", band)
        found = regions_of([WindowedMask.of(mask) for mask in masks], 6, 5)
    for part in ("atoms", "membership", "sizes"):
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))
    full = [mask.full(6, 5) for mask in windowed(expected, 6, 5)]
    np.testing.assert_array_equal(np.array(full).reshape(count, 6, 5), masks)
