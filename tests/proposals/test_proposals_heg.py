"""The generator as a whole."""

import cv2
import numpy as np
import pytest

from stages.ops.regions import Regions
from stages.proposals.heg import enlarge, propose, shrink


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "rgb",
    [
        pytest.param(image(1, 1), id="one pixel"),
        pytest.param(image(1, 50), id="one row"),
        pytest.param(image(50, 1), id="one column"),
        pytest.param(np.full((40, 60, 3), 255, np.uint8), id="white"),
        pytest.param(np.zeros((40, 60, 3), np.uint8), id="black"),
        pytest.param(image(70, 90), id="noise"),
        pytest.param(image(1000, 3), id="narrow and too large"),
        pytest.param(cv2.resize(image(9, 12), (400, 300)), id="too large"),
    ],
)
def test_every_image_has_ranked_different_nonempty_regions_of_its_size(rgb: np.ndarray, heg_settings):
    found = propose(rgb, heg_settings(longer_side=120, count=50))
    assert found.labels.shape == rgb.shape[:2]
    assert 1 <= len(found.regions) <= 50
    areas = found.regions @ np.bincount(found.labels.reshape(-1), minlength=found.regions.shape[1])
    assert areas.min() > 0
    assert len({row.tobytes() for row in found.regions}) == len(found.regions)
    assert found.scores.dtype == np.float32
    assert np.isfinite(found.scores).all()
    assert (np.diff(found.scores) <= 0).all()


def test_a_constant_image_has_one_proposal_the_whole(heg_settings):
    found = propose(np.full((40, 60, 3), 9, np.uint8), heg_settings())
    assert found.regions.tolist() == [[True]]


def test_equal_images_give_equal_bits(scene, heg_settings):
    one, other = propose(scene(1), heg_settings()), propose(scene(1), heg_settings())
    for a, b in zip(one, other, strict=True):
        assert a.tobytes() == b.tobytes()


def test_objects_are_found_and_ranked_high(scene, heg_settings):
    found = propose(scene(0), heg_settings(base_min_size=10))
    ground_truth = np.zeros((2, 60, 80), np.uint8)
    cv2.circle(ground_truth[0], (20, 25), 14, 1, -1)
    cv2.rectangle(ground_truth[1], (48, 20), (70, 52), 1, -1)
    regions = Regions.from_superpixels(found.labels, found.regions[:10])
    assert Regions.from_masks(ground_truth.astype(bool)).iou(regions).max(axis=1).min() > 0.9


def test_no_two_proposals_overlap_more_than_the_setting_allows(scene, heg_settings):
    found = propose(scene(2), heg_settings(overlap=0.5))
    iou = Regions.from_superpixels(found.labels, found.regions).iou()
    assert (iou - np.eye(len(iou))).max() <= 0.5


def test_fewer_proposals_are_the_first_of_more(scene, heg_settings):
    few, many = propose(scene(3), heg_settings(count=5)), propose(scene(3), heg_settings(count=40))
    np.testing.assert_array_equal(few.regions, many.regions[:5])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 500), (333, 500), (500, 2)])
def test_shrinking_and_enlarging_lose_no_label(height: int, width: int):
    small = shrink(image(height, width), 64)
    assert max(small.shape[:2]) <= 64
    labels = np.arange(small.shape[0] * small.shape[1]).reshape(small.shape[:2])
    full = enlarge(labels, height, width)
    assert full.shape == (height, width)
    assert len(np.unique(full)) == labels.size
    assert (np.diff(full, axis=0) >= 0).all()
    assert (np.diff(full, axis=1) >= 0).all()
