"""Augmentation of BESTIE: image, maps and points stay together; sizes by hand."""

import numpy as np
import pytest

from stages.bestie.augmentation import (
    MEAN_GREY,
    View,
    augmented,
    cropped,
    jitter,
    mirrored,
    resized,
    scaled_size,
)
from stages.bestie.settings import BestieDataSettings
from stages.ops.resize import resize_as

PLAIN = {
    "brightness": 0.0, "contrast": 0.0, "hue": 0.0, "longer_side": 64, "side_step": 1, "interpolation": "area", "scales": [1.0], "crop": 64,
    "flip": 0.0, "accepted_on": "image", "sigma": 3.0, "batch": 2,
}  # fmt: skip


def settings(**changes):
    return BestieDataSettings.model_validate(PLAIN | changes)


def view_with_a_dot(height, width, at):
    """A dot of 3x3 pixels that shows in the image, in both maps and as a point."""
    y, x = at
    rgb, labels, instances = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8), None
    rgb[y - 1 : y + 2, x - 1 : x + 2] = 250
    labels[y - 1 : y + 2, x - 1 : x + 2] = 2
    instances = (labels == 2).astype(np.int32) * 7
    return View(rgb, labels, instances, np.array([[y, x]], np.float32))


@pytest.mark.parametrize(
    ("size", "changes", "wanted"),
    [
        pytest.param((375, 500), {"longer_side": 449, "side_step": 32}, (353, 449), id="the-official-sizes"),
        pytest.param((500, 375), {"longer_side": 449, "side_step": 32}, (449, 353), id="upright"),
        pytest.param((500, 500), {"longer_side": 449, "side_step": 32}, (449, 449), id="square"),
        pytest.param((375, 500), {"longer_side": 160}, (120, 160), id="rounded"),
        pytest.param((3, 4000), {"longer_side": 64}, (1, 64), id="a-line-keeps-a-pixel"),
        pytest.param((3, 4000), {"longer_side": 449, "side_step": 32}, (1, 449), id="a-line-by-steps"),
    ],
)
def test_size_before_the_random_scale(size, changes, wanted):
    assert scaled_size(*size, settings(**changes)) == wanted


@pytest.mark.parametrize("seed", range(20))
def test_everything_moves_together(seed):
    generator = np.random.default_rng(seed)
    view = view_with_a_dot(48, 80, at=(int(generator.integers(3, 45)), int(generator.integers(3, 77))))
    chosen = settings(longer_side=160, scales=[0.8, 1.0, 1.5], crop=128, flip=0.5)
    seen, inside = augmented(view, chosen, generator)
    assert seen.rgb.shape == (128, 128, 3)
    assert seen.labels.shape == seen.instances.shape == (128, 128)
    assert ((seen.labels == 2) == (seen.instances == 7)).all()
    assert inside.tolist() == [bool(((seen.points >= 0) & (seen.points < 128)).all())]
    if inside[0]:
        y, x = seen.points[0].astype(int)
        assert seen.labels[y, x] == 2
        assert seen.rgb[y, x].min() > 200
        ys, xs = np.nonzero(seen.labels == 2)
        if min(ys.min(), xs.min()) > 0 and max(ys.max(), xs.max()) < 127:  # the whole dot is in the crop
            assert np.hypot(ys.mean() - y, xs.mean() - x) < 1.5


def test_mirrored_point_lies_on_the_mirrored_pixel():
    view = mirrored(view_with_a_dot(20, 30, at=(5, 7)))
    assert view.points.tolist() == [[5.0, 22.0]]
    assert view.labels[5, 22] == 2
    assert view.labels[5, 7] == 0


def test_a_small_image_is_laid_on_mean_grey_and_background():
    view = view_with_a_dot(20, 30, at=(5, 7))
    crop = cropped(view, settings(), np.random.default_rng(1))
    y, x = crop.points[0].astype(int)
    assert crop.labels[y, x] == 2
    assert (crop.labels > 0).sum() == 9
    outside = (crop.rgb == MEAN_GREY["area"]).all(2)
    assert outside.sum() == 64 * 64 - 20 * 30
    assert not crop.labels[outside].any()


def test_all_places_of_a_crop_are_drawn():
    view = View(np.zeros((6, 9, 3), np.uint8), np.zeros((6, 9), np.uint8), np.zeros((6, 9), np.int32), np.zeros((1, 2)))
    generator, small = np.random.default_rng(0), settings().model_copy(update={"crop": 8})
    places = {tuple(cropped(view, small, generator).points[0].astype(int)) for _ in range(200)}
    assert places == {(y, x) for y in (0, 1, 2) for x in (0, -1)}


def test_points_beyond_the_crop_are_known():
    view = view_with_a_dot(64, 64, at=(5, 5))
    seen, inside = augmented(view, settings(longer_side=640, crop=32), np.random.default_rng(0))
    assert not inside.any()
    assert not (seen.labels == 2).any()


def test_resizing_keeps_labels_whole():
    view = view_with_a_dot(40, 40, at=(20, 20))
    large = resized(view, 80, 100, interpolation="area")
    assert set(np.unique(large.labels)) == {0, 2}
    assert (large.labels == 2).sum() == pytest.approx(9 * 2 * 2.5, abs=4)
    assert large.points.tolist() == [[40.0, 50.0]]


def test_bicubic_is_for_the_image_alone():
    view = view_with_a_dot(40, 40, at=(20, 20))
    area, bicubic = (resized(view, 30, 50, interpolation=name) for name in ("area", "bicubic"))
    assert np.array_equal(bicubic.rgb, resize_as(view.rgb, 30, 50, interpolation="bicubic"))
    assert not np.array_equal(bicubic.rgb, area.rgb)
    assert all(np.array_equal(one, other) for one, other in zip(area[1:], bicubic[1:], strict=True))
    same = settings(longer_side=40, crop=64, interpolation="bicubic", scales=[0.5])
    seen, _ = augmented(view, same, np.random.default_rng(0))
    assert seen.rgb.shape == (64, 64, 3)
    assert (seen.rgb == np.array([124, 116, 104])).all(2).sum() == 64 * 64 - 20 * 20  # mean grey around it


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        pytest.param({}, {(100, 50, 0)}, id="off"),
        pytest.param({"brightness": 30.0}, None, id="brightness"),
        pytest.param({"contrast": 0.5}, None, id="contrast"),
        pytest.param({"hue": 90.0}, None, id="hue"),
    ],
)
def test_colours_change_as_far_as_they_may(changes, wanted):
    rgb = np.tile(np.array([100, 50, 0], np.uint8), (2, 2, 1))
    generator = np.random.default_rng(0)
    seen = np.array([jitter(rgb, settings(**changes), generator)[0, 0] for _ in range(200)], int)
    if wanted is not None:
        assert {tuple(row) for row in seen.tolist()} == wanted
        return
    unchanged = (seen == [100, 50, 0]).all(1).mean()
    assert 0.35 < unchanged < 0.65  # each with probability 1/2
    if "brightness" in changes:
        assert 65 <= seen[:, 0].min() < 80
        assert 120 < seen[:, 0].max() <= 130
    if "contrast" in changes:
        assert 49 <= seen[:, 0].min() < 60
        assert 140 < seen[:, 0].max() <= 150
        assert (seen[:, 2] == 0).all()
    if "hue" in changes:
        assert seen.max(1).min() >= 99  # the value of HSV stays
        assert seen[:, 1].max() > 90


def test_an_image_is_left_alone():
    view = view_with_a_dot(40, 40, at=(20, 20))
    before = view.rgb.copy()
    augmented(view, settings(brightness=16.0, contrast=0.5, hue=36.0, flip=1.0), np.random.default_rng(3))
    assert (view.rgb == before).all()
