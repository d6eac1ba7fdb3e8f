"""Superpixels and what is known of them."""

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import felzenszwalb

from stages.proposals.features import describe_pixels
from stages.proposals.partition import partition
from stages.proposals.superpixels import describe_superpixels


@pytest.mark.parametrize(("scale", "superpixels"), [(51.0, 2), (53.0, 1)])
def test_components_join_below_the_smaller_internal_difference_plus_k_over_size(scale: float, superpixels: int):
    """Felzenszwalb and Huttenlocher, equation 3: 10 grey levels in RGB are a cost of 17.3; |C| = 3 on both sides."""
    row = np.repeat(np.array([[0, 0, 0, 10, 10, 10]], np.uint8)[..., None], 3, axis=2)
    assert partition(row, scale=scale, sigma=0, min_size=1).max() + 1 == superpixels


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (30, 40)])
def test_a_constant_image_is_one_superpixel(shape: tuple[int, int]):
    labels = partition(np.full((*shape, 3), 77, np.uint8), scale=40, sigma=0.8, min_size=10)
    np.testing.assert_array_equal(labels, np.zeros(shape, np.int32))


def test_superpixels_are_those_of_scikit_image_but_for_equal_costs():
    rgb = cv2.resize(np.random.default_rng(3).integers(0, 256, (12, 16, 3), dtype=np.uint8), (80, 60))
    ours = partition(rgb, scale=40, sigma=0.8, min_size=20)
    theirs = felzenszwalb(rgb, scale=40, sigma=0.8, min_size=20)
    shared = np.zeros((ours.max() + 1, theirs.max() + 1))
    np.add.at(shared, (ours, theirs), 1)
    assert shared.max(axis=0).sum() > 0.95 * ours.size
    assert shared.max(axis=1).sum() > 0.95 * ours.size


def test_superpixels_are_numbered_without_gaps_connected_and_not_small():
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    labels = partition(noise, scale=20, sigma=0.8, min_size=12)
    sizes = np.bincount(labels.reshape(-1))
    assert len(sizes) > 10
    assert sizes.min() >= 12
    assert all(ndimage.label(labels == s, np.ones((3, 3)))[1] == 1 for s in range(len(sizes)))


def test_borders_are_counted_in_pixel_sides_and_edges_averaged_over_them():
    labels = np.array([[0, 0, 1], [0, 2, 2]], np.int32)
    pixels = describe_pixels(np.zeros((2, 3, 3), np.uint8), edge_sigmas=[1.0])
    pixels = pixels._replace(edges=np.array([[0, 1, 2], [3, 4, 5]], np.float32))
    superpixels = describe_superpixels(labels, pixels)
    np.testing.assert_array_equal(superpixels.pairs, [[0, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(superpixels.lengths, [1, 2, 1])
    np.testing.assert_allclose(superpixels.edges, [1.5, (2.5 + 3.5) / 2, 3.5])
    np.testing.assert_array_equal(superpixels.areas, [3, 1, 2])
    np.testing.assert_array_equal(superpixels.boxes, [[0, 0, 2, 2], [2, 0, 3, 1], [1, 1, 3, 2]])
    np.testing.assert_array_equal(superpixels.border, [5, 2, 3])
    for histograms in (*superpixels.colours.values(), superpixels.texture * 3):
        np.testing.assert_array_equal(histograms.sum(axis=1), 3 * superpixels.areas)


def test_the_edge_map_is_zero_in_a_constant_image_and_peaks_on_a_border():
    flat = np.full((20, 30, 3), 128, np.uint8)
    assert describe_pixels(flat, edge_sigmas=[1.0, 2.0]).edges.max() == 0
    cv2.rectangle(flat, (15, 0), (29, 19), (250, 250, 250), -1)
    edges = describe_pixels(flat, edge_sigmas=[1.0, 2.0]).edges
    assert set(edges.argmax(axis=1)) <= {14, 15}
