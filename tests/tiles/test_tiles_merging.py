"""What tiles have of one object is joined again: masks cut into tiles and merged are the masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.artifacts.instances import Instances
from stages.core.artifacts.regions import packed_fields
from stages.ops.regions import Regions
from stages.ops.windows import Window, WindowedMask, tiles
from stages.tiles.joining import shared
from stages.tiles.merging import Merged, merge
from stages.tiles.pieces import place
from stages.tiles.settings import TilesSettings

SETTINGS = TilesSettings(join_iou=0.5, absorb_share=0.7, max_instances=100)
SIZE = (60, 90)


def predicted(window: Window, masks, classes, scores, boxes=None) -> Instances:
    """What a predictor that sees a tile alone, and errs nowhere, says of it."""
    seen = [WindowedMask.of(mask).cut(window) for mask in masks]
    kept = [i for i, mask in enumerate(seen) if mask.area]
    drawn = [seen[i].full(window.height, window.width) for i in kept]
    fields = packed_fields(Regions.from_masks(np.array(drawn, bool).reshape(len(kept), window.height, window.width)))
    return Instances(
        image="tile",
        classes=np.array(classes, np.int32)[kept],
        scores=np.array(scores, np.float32)[kept],
        boxes=None if boxes is None else boxes[kept] - np.array([window.x, window.y] * 2, np.float32),
        **fields,
    )


def cut_and_merged(masks, classes, scores, *, size: int, overlap: int, boxes=None) -> Merged:
    windows = tiles(*SIZE, size=size, overlap=overlap)
    found = (place(predicted(window, masks, classes, scores, boxes), window, *SIZE) for window in windows)
    return merge(found, SETTINGS)


def as_set(masks, classes, scores) -> set[tuple[bytes, int, float]]:
    return {
        (np.packbits(mask).tobytes(), int(label), float(score))
        for mask, label, score in zip(masks, classes, np.asarray(scores, np.float32), strict=True)
    }


def ellipse(y: float, x: float, ry: float, rx: float) -> np.ndarray:
    ys, xs = np.indices(SIZE)
    return ((ys - y) / ry) ** 2 + ((xs - x) / rx) ** 2 <= 1


@st.composite
def scenes(draw):
    """Disjoint objects of any size in a scene, some of them of two parts; classes and scores."""
    count = draw(st.integers(0, 6))
    free, masks = np.ones(SIZE, bool), []
    for _ in range(count):
        place_y, place_x = draw(st.integers(0, SIZE[0] - 1)), draw(st.integers(0, SIZE[1] - 1))
        mask = ellipse(place_y, place_x, draw(st.integers(1, 40)), draw(st.integers(1, 40))) & free
        mask = largest_part(mask)
        if mask.any():
            masks.append(mask)
            free &= ~mask
    classes = draw(st.lists(st.integers(0, 1), min_size=len(masks), max_size=len(masks)))
    scores = draw(st.lists(st.floats(0, 1, width=32), min_size=len(masks), max_size=len(masks)))
    return np.array(masks, bool).reshape(-1, *SIZE), classes, scores


def largest_part(mask: np.ndarray) -> np.ndarray:
    from stages.ops.components import label_components

    labels, count = label_components(mask, connectivity=4)
    return labels == 1 + np.bincount(labels[labels > 0] - 1, minlength=1).argmax() if count else mask


@settings(max_examples=40, deadline=None)
@given(scenes(), st.sampled_from([(32, 8), (32, 20), (24, 1), (200, 10), (40, 20)]))
def test_connected_objects_of_any_size_come_back_exactly(scene, grid):
    masks, classes, scores = scene
    merged = cut_and_merged(masks, classes, scores, size=grid[0], overlap=grid[1])
    found = [mask.full(*SIZE) for mask in merged.masks]
    assert as_set(found, merged.classes, merged.scores) == as_set(masks, classes, scores)
    assert len(found) == len(masks)
    assert (np.diff(merged.scores) <= 0).all()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_objects_of_two_parts_that_are_smaller_than_the_overlap_come_back_exactly(data):
    overlap, masks = 16, []
    free = np.ones(SIZE, bool)
    for _ in range(data.draw(st.integers(1, 6))):
        y, x = data.draw(st.integers(0, SIZE[0] - overlap)), data.draw(st.integers(0, SIZE[1] - overlap))
        mask = np.zeros(SIZE, bool)
        mask[y : y + 3, x : x + 4] = mask[y + 10 : y + overlap, x + 9 : x + overlap] = True
        if (free & mask).sum() == mask.sum():
            masks.append(mask)
            free &= ~mask
    scores = data.draw(st.lists(st.floats(0, 1, width=32), min_size=len(masks), max_size=len(masks)))
    merged = cut_and_merged(masks, [0] * len(masks), scores, size=40, overlap=overlap)
    found = [mask.full(*SIZE) for mask in merged.masks]
    assert as_set(found, merged.classes, merged.scores) == as_set(masks, [0] * len(masks), scores)


def test_an_object_across_the_corner_of_four_tiles_is_one():
    mask = ellipse(31, 31, 12, 12)
    assert len(tiles(*SIZE, size=32, overlap=2)) == 6
    merged = cut_and_merged([mask], [1], [0.5], size=32, overlap=2)
    assert (merged.pieces, len(merged.masks), merged.absorbed) == (4, 1, 0)
    np.testing.assert_array_equal(merged.masks[0].full(*SIZE), mask)


@pytest.mark.parametrize("overlap", [0, 4])
def test_two_objects_of_other_classes_at_one_seam_stay_two(overlap):
    masks = [ellipse(20, 32, 9, 9), ellipse(20, 32, 9, 9)]
    merged = cut_and_merged(masks, [0, 1], [0.5, 0.5], size=32, overlap=overlap)
    assert sorted(merged.classes) == [0, 1]
    np.testing.assert_array_equal([mask.full(*SIZE) for mask in merged.masks], masks)


def test_without_overlap_masks_that_meet_at_the_seam_are_joined_and_others_not():
    big, small = ellipse(30, 32, 12, 14), ellipse(8, 31, 3, 1)
    masks = [big, small & (np.indices(SIZE)[1] < 32)]
    merged = cut_and_merged(masks, [0, 0], [0.9, 0.8], size=32, overlap=0)
    np.testing.assert_array_equal([mask.full(*SIZE) for mask in merged.masks], masks)


def tile_of(window: Window, masks, scores, classes=None):
    classes = [0] * len(masks) if classes is None else classes
    return place(predicted(window, masks, classes, scores), window, *SIZE)


LEFT, RIGHT = Window(0, 0, 60, 50), Window(0, 30, 60, 60)


def test_masks_that_agree_too_little_stay_apart():
    left, right = ellipse(20, 40, 8, 8), ellipse(29, 40, 8, 8)
    merged = merge([tile_of(LEFT, [left], [0.9]), tile_of(RIGHT, [right], [0.8])], SETTINGS)
    assert len(merged.masks) == 2


def test_the_score_is_the_highest_and_the_mask_that_no_border_cuts_decides():
    complete = ellipse(20, 45, 8, 10)  # reaches column 55, out of the left tile
    rough = ellipse(20, 45, 9, 10)
    merged = merge([tile_of(LEFT, [rough], [0.9]), tile_of(RIGHT, [complete], [0.6])], SETTINGS)
    assert merged.scores.tolist() == [np.float32(0.9)]
    found = merged.masks[0].full(*SIZE)
    np.testing.assert_array_equal(found, complete)


def test_of_two_complete_masks_the_better_one_decides():
    good, bad = ellipse(20, 40, 7, 7), ellipse(20, 40, 8, 7)
    for first, second in ((good, bad), (bad, good)):
        scores = [0.9 if first is good else 0.4, 0.9 if second is good else 0.4]
        tiles_ = [tile_of(LEFT, [first], scores[:1]), tile_of(RIGHT, [second], scores[1:])]
        np.testing.assert_array_equal(merge(tiles_, SETTINGS).masks[0].full(*SIZE), good)


def test_a_cut_rest_that_lies_in_the_neighbours_mask_is_dropped_and_a_complete_small_one_is_not():
    whole = ellipse(20, 40, 15, 9)
    rest = whole & (np.indices(SIZE)[1] >= 47)  # what the left tile makes of its border
    merged = merge([tile_of(LEFT, [rest], [0.9]), tile_of(RIGHT, [whole], [0.5])], SETTINGS)
    assert (merged.absorbed, len(merged.masks)) == (1, 1)
    np.testing.assert_array_equal(merged.masks[0].full(*SIZE), whole)
    small = ellipse(20, 40, 3, 3)  # inside, and away from any border
    merged = merge([tile_of(LEFT, [small], [0.9]), tile_of(RIGHT, [whole], [0.5])], SETTINGS)
    assert (merged.absorbed, len(merged.masks)) == (0, 2)


def test_each_mask_finds_one_partner_so_that_duplicates_do_not_run_together():
    """Two objects that one tile takes for one: only one of them is joined with it."""
    one, two = ellipse(20, 40, 8, 8), ellipse(37, 40, 7, 7)
    both = one | two
    merged = merge([tile_of(LEFT, [both], [0.5]), tile_of(RIGHT, [one, two], [0.9, 0.8])], SETTINGS)
    assert len(merged.masks) == 2
    assert {mask.area for mask in merged.masks} >= {int(two.sum())}


def test_only_the_best_instances_are_kept():
    masks = [ellipse(10, 10 + 20 * i, 4, 4) for i in range(4)]
    limited = SETTINGS.model_copy(update={"max_instances": 2})
    merged = merge([tile_of(Window(0, 0, 60, 90), masks, [0.1, 0.4, 0.3, 0.2])], limited)
    assert merged.scores.tolist() == [np.float32(0.4), np.float32(0.3)]


def test_predicted_boxes_are_placed_and_joined():
    mask = ellipse(20, 40, 10, 14)
    boxes = np.array([[26, 10, 55, 31]], np.float32)
    merged = cut_and_merged([mask], [0], [0.5], size=48, overlap=20, boxes=boxes)
    np.testing.assert_array_equal(merged.boxes, boxes)


def test_an_image_without_instances_gives_none():
    merged = cut_and_merged([], [], [], size=32, overlap=8)
    assert (merged.masks, merged.boxes, merged.scores.shape) == ([], None, (0,))


def test_instances_of_another_size_than_their_tile_are_refused():
    found = predicted(Window(0, 0, 20, 20), [], [], [])
    with pytest.raises(ValueError, match=r"tile 'tile' has 60x50 pixels, its instances have 20x20; remake"):
        place(found, LEFT, *SIZE)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (Window(0, 8, 10, 10), (Window(0, 8, 10, 2), Window(0, 8, 10, 2))),
        (Window(0, 10, 8, 10), (Window(0, 9, 8, 1), Window(0, 10, 8, 1))),
        (Window(10, 2, 10, 10), (Window(9, 2, 1, 8), Window(10, 2, 1, 8))),
        (Window(10, 10, 10, 10), None),
        (Window(0, 11, 10, 10), None),
    ],
    ids=["overlapping", "side by side", "below", "at a corner", "apart"],
)
def test_tiles_are_compared_where_they_meet(second, expected):
    first = Window(0, 0, 10, 10)
    assert shared(first, second) == expected
    assert shared(second, first) == (expected if expected is None else expected[::-1])


def test_a_seam_that_a_third_tile_sees_joins_nothing():
    """With an overlap of half a tile every second one touches; objects on both sides of such a seam stay two."""
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 5:15, 30:40] = True
    masks[1, 5:15, 40:46] = True
    merged = cut_and_merged(masks, [0, 0], [0.0, 0.0], size=40, overlap=20)
    found = [mask.full(*SIZE) for mask in merged.masks]
    assert as_set(found, merged.classes, merged.scores) == as_set(masks, [0, 0], [0.0, 0.0])
