"""Drawing: arrays in, arrays out."""

import base64

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ops.drawing import (
    directions,
    hatch,
    heatmap,
    hexadecimal,
    jpeg_uri,
    label,
    label_windowed,
    mark,
    number,
    outline,
    paint,
    paint_windowed,
    palette,
    small_masks,
    thickest_point,
)
from stages.ops.regions import Regions
from stages.ops.windows import windowed

GREY = np.full((20, 30, 3), 100, np.uint8)


def square(y0: int, y1: int, x0: int, x1: int, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_painted_inside_is_blended_outline_solid_and_outside_untouched() -> None:
    colour = np.array([[200, 0, 0]], np.uint8)
    painted = paint(GREY, square(4, 12, 4, 12)[None], colour, opacity=0.5)
    assert painted[8, 8].tolist() == [150, 50, 50]
    assert painted[4, 8].tolist() == [200, 0, 0]
    assert painted[0, 0].tolist() == [100, 100, 100]


def test_the_first_mask_lies_on_top() -> None:
    masks = np.stack([square(4, 12, 4, 12), square(0, 20, 0, 30)])
    painted = paint(GREY, masks, np.array([[255, 0, 0], [0, 0, 255]], np.uint8), opacity=1.0)
    assert painted[8, 8].tolist() == [255, 0, 0]
    assert painted[18, 28].tolist() == [0, 0, 255]


def test_nothing_painted_leaves_the_image() -> None:
    none = np.zeros((0, 20, 30), bool)
    for drawn in (paint(GREY, none, palette(0), opacity=0.5), number(GREY, none), number(GREY, none[:0])):
        np.testing.assert_array_equal(drawn, GREY)
    np.testing.assert_array_equal(mark(GREY, np.zeros((0, 2), int), palette(0)), GREY)


def test_outline_is_the_border_of_the_mask_and_not_that_of_the_image() -> None:
    border = outline(square(0, 5, 0, 5))
    assert border.sum() == 9
    assert not border[0, 0]
    assert not outline(np.ones((4, 4), bool)).any()


def test_heatmap_is_dark_where_there_is_no_response_and_bright_at_its_maximum() -> None:
    response = np.full((4, 6), -3.0)
    response[2, 3] = 5.0
    drawn = heatmap(np.zeros((40, 60, 3), np.uint8), response, opacity=1.0)
    assert drawn[0, 0].sum() < 20
    assert drawn[20:30, 30:40].max() > 200


def test_heatmap_of_a_flat_map_is_dark() -> None:
    assert heatmap(np.zeros((8, 8, 3), np.uint8), np.zeros((2, 2)), opacity=1.0).max() < 10


def test_a_mark_shows_its_colour_and_may_lie_on_the_border() -> None:
    marked = mark(GREY, np.array([[10, 15], [0, 0]]), np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    assert marked[10, 15].tolist() == [1, 2, 3]
    assert marked[0, 0].tolist() == [4, 5, 6]


def test_numbers_are_written_where_a_mask_is_thickest_and_empty_masks_get_none() -> None:
    shape = (80, 100)
    image = np.full((*shape, 3), 100, np.uint8)
    masks = np.stack([square(0, 60, 40, 100, shape), np.zeros(shape, bool)])
    y, x = thickest_point(masks[0])
    assert (abs(y - 29.5) <= 1, abs(x - 69.5) <= 1) == (True, True)
    changed = (number(image, masks) != image).any(axis=2)
    assert changed[y - 4 : y + 5, x - 4 : x + 5].all()
    assert not changed[60:].any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 30), width=st.integers(1, 30))
def test_small_masks_are_nearest_pixels_of_the_large_ones(seed: int, height: int, width: int) -> None:
    generator = np.random.default_rng(seed)
    masks = generator.random((3, 11, 13)) < 0.5
    small = small_masks(Regions.from_masks(masks), np.array([2, 0]), height, width)
    rows, columns = (np.arange(height) * 2 + 1) * 11 // (2 * height), (np.arange(width) * 2 + 1) * 13 // (2 * width)
    np.testing.assert_array_equal(small, masks[[2, 0]][:, rows][:, :, columns])


@pytest.mark.parametrize("count", [0, 1, 40])
def test_colours_are_distinct_and_do_not_depend_on_their_number(count: int) -> None:
    colours = palette(count)
    assert len({hexadecimal(colour) for colour in colours}) == count
    np.testing.assert_array_equal(colours, palette(80)[:count])


def test_uri_holds_the_image() -> None:
    uri = jpeg_uri(GREY, quality=90)
    data = np.frombuffer(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")), np.uint8)
    assert np.abs(cv2.imdecode(data, cv2.IMREAD_COLOR).astype(int) - GREY).max() <= 2


@pytest.mark.parametrize("shape", [(40, 60), (20, 30), (80, 120)])
def test_masks_are_painted_within_their_windows_as_in_whole_images(shape):
    generator = np.random.default_rng(0)
    masks = np.zeros((4, 40, 60), bool)
    masks[0, :12, 20:40] = masks[1, 8:30, :25] = masks[2, 25:, 30:] = masks[2, 3, 55] = True
    regions = Regions.from_masks(masks)
    rgb = generator.integers(0, 255, (*shape, 3)).astype(np.uint8)
    small, texts = small_masks(regions, np.arange(4), *shape), ["a", "b", "c", "d"]
    expected = label(paint(rgb, small, palette(4), opacity=0.5), small, texts, size=0.1)
    windows = windowed(regions, *shape)
    np.testing.assert_array_equal([mask.full(*shape) for mask in windows], small)
    found = label_windowed(paint_windowed(rgb, windows, palette(4), opacity=0.5), windows, texts, size=0.1)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_colours_are_bright_and_those_of_neighbours_far_apart() -> None:
    colours = palette(60)
    assert (colours.max(1) >= 204).all()
    hues = cv2.cvtColor(colours[None], cv2.COLOR_RGB2HSV)[0, :, 0] / 180
    steps = np.diff(hues) % 1
    assert np.minimum(steps, 1 - steps).min() > 1 / 3


def test_hatching_is_of_lines_two_pixels_wide_within_the_mask() -> None:
    mask = square(0, 14, 0, 21)
    hatched = (hatch(GREY, mask, np.array([9, 8, 7], np.uint8)) != GREY).any(axis=2)
    assert hatched.sum() == 14 * 21 * 2 // 7
    assert not (hatched & ~mask).any()
    assert hatched[0, :9].tolist() == [True, True, False, False, False, False, False, True, True]


@pytest.mark.parametrize(
    ("offset", "colour"),
    [
        pytest.param((0, 1), [255, 0, 0], id="right"),
        pytest.param((1, 0), [128, 255, 0], id="down"),
        pytest.param((0, -1), [0, 255, 255], id="left"),
        pytest.param((-1, 0), [128, 0, 255], id="up"),
    ],
)
def test_directions_are_hues_and_lengths_saturations(offset: tuple[int, int], colour: list[int]) -> None:
    offsets = np.zeros((2, 1, 3), np.float32)
    offsets[:, 0, 0], offsets[:, 0, 1] = offset, np.array(offset) / 2
    drawn = directions(offsets, 1, 3)[0].astype(int)
    assert np.abs(drawn[0] - colour).max() <= 1
    assert np.abs(drawn[1] - (255 + drawn[0]) / 2).max() <= 1
    assert drawn[2].tolist() == [255, 255, 255]


def test_a_heatmap_of_half_opacity_is_the_mean_of_image_and_colours() -> None:
    response = np.linspace(0, 1, 12).reshape(3, 4)
    full, half = (heatmap(GREY, response, opacity=opacity).astype(float) for opacity in (1.0, 0.5))
    assert np.abs(half - (full + GREY) / 2).max() <= 0.5


def test_a_mark_is_a_disc_with_a_light_and_then_a_dark_edge() -> None:
    marked = mark(GREY, np.array([[10, 15]]), np.array([[250, 0, 0]], np.uint8)).astype(int)
    for across in (marked[10, 15:22], marked[10, 15:8:-1], marked[10:17, 15], marked[10:3:-1, 15]):
        assert across[:4].tolist() == [[250, 0, 0]] * 4  # the center and a radius of 3 pixels
        assert across[4].min() > 150
        assert across[5].max() < 100
        assert across[5].max() < across[6].max() <= 100  # which is smooth


def written(rgb: np.ndarray, mask: np.ndarray, text: str = "7", size: float = 1.0) -> tuple[range, range]:
    """Rows and columns that a label changes."""
    changed = (label(rgb, mask[None], [text], size=size) != rgb).any(axis=2)
    (ys, xs) = changed.nonzero()
    return range(ys.min(), ys.max() + 1), range(xs.min(), xs.max() + 1)


@pytest.mark.parametrize("side", [480, 960])
def test_capitals_are_a_twentieth_of_the_longer_side_high_on_a_box_with_a_margin(side: int) -> None:
    image = np.full((side // 2, side, 3), 100, np.uint8)
    mask = np.ones((side // 2, side), bool)
    rows, columns = written(image, mask, "H")
    (width, height), _ = cv2.getTextSize("H", cv2.FONT_HERSHEY_SIMPLEX, side / 480, 1)
    assert len(rows) == 2 + height + 1 + 2  # the line of the letters' foot is one more
    assert len(columns) == 2 + width + 2
    letter = (label(image, mask[None], ["H"], size=1.0) > 200).all(axis=2).any(axis=1)
    assert letter.sum() == pytest.approx(side / 20, rel=0.2)


def test_a_text_stays_with_its_mask_and_within_the_image() -> None:
    wide = np.full((40, 300, 3), 100, np.uint8)
    right = square(0, 40, 250, 300, wide.shape[:2])
    _, columns = written(wide, right)
    assert set(columns) < set(range(250, 300))
    _, columns = written(wide, square(0, 40, 296, 300, wide.shape[:2]), "1234")
    assert columns.stop == 300


def test_in_an_image_lower_than_its_text_the_text_is_cut_below() -> None:
    low, high = np.full((10, 60, 3), 100, np.uint8), np.full((40, 60, 3), 100, np.uint8)
    mask = square(0, 10, 0, 60, (40, 60))
    expected = label(high, mask[None], ["7"], size=1.0)[:10]
    np.testing.assert_array_equal(label(low, mask[None, :10], ["7"], size=1.0), expected)
