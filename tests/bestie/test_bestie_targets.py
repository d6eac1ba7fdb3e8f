"""Transfer of semantic knowledge, pseudo labels and Gaussians (sections 3.2 to 3.4), by hand and against plain code."""

import numpy as np
import pytest
import torch

from stages.bestie.components import batched
from stages.bestie.targets import Points, Targets, center_heatmap, chosen_targets, pseudo_targets
from stages.bestie.transfer import transfer
from stages.core.artifacts.map_components import class_components, class_regions
from tests.bestie import reference

TAGS = np.array([True, True, False])


def points_of(*rows):
    """Points from (image, class, y, x)."""
    table = torch.tensor(rows, dtype=torch.int64).reshape(-1, 4)
    return Points(table[:, 2:], table[:, 0], table[:, 1])


def test_a_gaussian_is_one_at_its_center_and_cut_to_a_square():
    """Section 3.2; official: sigma 6, side 6 sigma + 3 = 39."""
    found = center_heatmap(points_of((0, 0, 40, 30)), size=torch.Size((1, 1, 90, 80)), sigma=6.0)[0, 0]
    assert found[40, 30] == 1
    assert found[40, 36].item() == pytest.approx(np.exp(-0.5), rel=1e-6)
    assert found[43, 34].item() == pytest.approx(np.exp(-25 / 72), rel=1e-6)
    ys, xs = found.nonzero().T
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (21, 59, 11, 49)
    assert (found > 0).sum() == 39**2


@pytest.mark.parametrize("seed", range(4))
def test_gaussians_equal_plain_loops(seed):
    rng = np.random.default_rng(seed)
    rows = [(*rng.integers(0, (2, 3)), *rng.integers(-6, 40, 2)) for _ in range(9)]
    sigma = (1.0, 2.5, 6.0, 0.4)[seed]
    found = center_heatmap(points_of(*rows), size=torch.Size((2, 3, 30, 34)), sigma=sigma)
    for image in range(2):
        for category in range(3):
            own = [row[2:] for row in rows if row[:2] == (image, category)]
            expected = reference.gaussian_map(own, (30, 34), sigma)
            np.testing.assert_allclose(found[image, category].numpy(), expected, rtol=1e-5, atol=1e-7)


def test_gaussians_merge_by_maximum_and_one_outside_is_not_drawn():
    size = torch.Size((1, 1, 20, 20))
    both = center_heatmap(points_of((0, 0, 5, 5), (0, 0, 5, 9)), size=size, sigma=2.0)
    each = [center_heatmap(points_of((0, 0, 5, x)), size=size, sigma=2.0) for x in (5, 9)]
    assert torch.equal(both, torch.maximum(*each))
    for place in ((-1, 5), (5, -1), (20, 5), (5, 20)):
        assert not center_heatmap(points_of((0, 0, *place)), size=size, sigma=2.0).any()
    assert not center_heatmap(points_of(), size=size, sigma=2.0).any()


MAP = np.array(
    [
        [1, 1, 0, 2, 2, 2],
        [1, 1, 0, 2, 2, 2],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 3, 3],
        [2, 0, 255, 0, 3, 3],
        [2, 2, 0, 1, 0, 0],
    ],
    np.uint8,
)


@pytest.mark.parametrize(
    ("points", "classes", "accepted"),
    [
        pytest.param([(0, 0), (1, 4), (5, 0)], [0, 1, 1], [(0, 5), (1, 6), (1, 3)], id="one cue each"),
        pytest.param([(0, 0), (2, 2)], [0, 0], [], id="two cues in one component, which touches at a corner"),
        pytest.param([(0, 0), (0, 1)], [0, 1], [(0, 5)], id="a cue of another class does not count"),
        pytest.param([(5, 3)], [0], [], id="too small a component"),
        pytest.param([(3, 4)], [2], [], id="class without tag"),
        pytest.param([(4, 2), (2, 0)], [0, 0], [], id="cues on nothing"),
        pytest.param([(0.99, 1.99)], [0], [(0, 5)], id="the pixel that holds the point"),
        pytest.param([(2.0, 1.99)], [0], [], id="and no other"),
        pytest.param([(-0.5, 0), (0, 6), (99, 0), (1, 1)], [0, 0, 0, 0], [(0, 5)], id="points outside"),
        pytest.param([(-0.5, 0), (5, -0.5)], [1, 0], [], id="which do not come in on the other side"),
        pytest.param([], [], [], id="no cue"),
    ],
)
def test_a_component_with_exactly_one_cue_is_an_instance(points, classes, accepted):
    """Section 3.3, second condition."""
    ids, found, candidates = transfer(
        MAP, np.array(points, np.float32).reshape(-1, 2), np.array(classes, np.int32), tags=TAGS, min_area=3
    )
    assert [(c, int((ids == 1 + i).sum())) for i, c in enumerate(found)] == accepted
    assert ids.max(initial=0) == len(accepted)
    assert candidates == 3
    assert ids.dtype == found.dtype == np.int32


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param(np.full((3, 3), 4, np.uint8), "has the label 4, expected 0 to 3", id="unknown class"),
        pytest.param(np.zeros((3, 3), np.int64), "is int64", id="type"),
        pytest.param(np.zeros((1, 3, 3), np.uint8), r"uint8 \(1, 3, 3\)", id="shape"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        transfer(labels, np.zeros((0, 2)), np.zeros(0, np.int32), tags=TAGS, min_area=1)


def test_points_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"points are \(3, 2\) for 2 classes"):
        transfer(MAP, np.zeros((3, 2)), np.zeros(2, np.int32), tags=TAGS, min_area=1)


def accepted_parts():
    first = transfer(MAP, np.array([(0, 0), (1, 4)]), np.array([0, 1]), tags=TAGS, min_area=3)
    empty = transfer(MAP, np.zeros((0, 2)), np.zeros(0, np.int32), tags=TAGS, min_area=3)
    third = transfer(MAP[::-1].copy(), np.array([(0, 0)]), np.array([1]), tags=TAGS, min_area=3)
    return batched([accepted[:2] for accepted in (first, empty, third)])


def test_pseudo_labels_point_to_the_truncated_centroid():
    """Sections 3.3 and 3.4: weight 1 on accepted components alone; centroids (0.8, 0.8), (0.5, 4) and (0.67, 0.33)."""
    found = pseudo_targets(accepted_parts(), points=None, class_count=3, sigma=2.0)
    assert found.weights.sum((1, 2)).tolist() == [11, 0, 3]
    assert set(found.weights.unique().tolist()) == {0, 1}
    assert found.offsets[0, :, 2, 2].tolist() == [-2, -2]
    assert found.offsets[0, :, 1, 5].tolist() == [-1, -1]
    assert found.offsets[2, :, 1, 0].tolist() == [-1, 0]
    assert not found.offsets[:, 0][found.weights == 0].any()
    for image, category, y, x in ((0, 0, 0, 0), (0, 1, 0, 4), (2, 1, 0, 0)):
        assert found.heatmap[image, category, y, x] == 1
    assert (found.heatmap == 1).sum() == 3
    assert not found.heatmap[:, 2].any()


def test_with_points_gaussians_are_at_all_points_and_offsets_still_go_to_the_centroid():
    """Point supervision (official code)."""
    given = points_of((0, 0, 1, 1), (0, 1, 5, 5), (1, 0, 3, 3))
    found = pseudo_targets(accepted_parts(), points=given, class_count=3, sigma=2.0)
    assert (found.heatmap == 1).nonzero().tolist() == [[0, 0, 1, 1], [0, 1, 5, 5], [1, 0, 3, 3]]
    plain = pseudo_targets(accepted_parts(), points=None, class_count=3, sigma=2.0)
    assert torch.equal(found.offsets, plain.offsets)
    assert torch.equal(found.weights, plain.weights)


def test_a_part_that_the_crop_cut_off_leaves_no_trace_and_one_cut_in_half_has_its_own_centroid():
    """`accepted_on: image`: ids of the whole image, pixels of the crop."""
    instances = np.zeros((4, 6), np.int32)
    instances[1:3, 0:4] = 3
    parts = batched([(instances, np.array([0, 0, 1, 2], np.int32))])
    found = pseudo_targets(parts, points=None, class_count=3, sigma=1.0)
    assert (found.heatmap == 1).nonzero().tolist() == [[0, 1, 1, 1]]
    assert found.weights.sum() == 8


@pytest.mark.parametrize("seed", range(6))
def test_components_and_their_order_equal_plain_code(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 1, 1, 2, 3, 255], np.uint8), (20, 24))
    ids, classes = class_components(labels, classes=TAGS, min_area=3)
    expected = [(c, mask) for c in (0, 1) for mask in reference.components_of(labels, c, 3)]
    assert classes.tolist() == [c for c, _ in expected]
    for number, (_, mask) in enumerate(expected, start=1):
        assert np.array_equal(ids == number, mask)
    assert ids.max() == len(expected)


def test_a_region_is_all_of_a_class():
    ids, classes = class_regions(MAP, classes=TAGS)
    assert classes.tolist() == [0, 1]
    assert np.array_equal(ids, np.select([MAP == 1, MAP == 2], [1, 2], 0))


def test_each_image_of_a_batch_has_the_targets_of_its_own_kind():
    def made(value):
        return Targets(*(torch.full((3, *shape), value) for shape in ((4, 5, 6), (2, 5, 6), (5, 6))))

    found = chosen_targets(torch.tensor([True, False, True]), lambda: made(1.0), lambda: made(2.0))
    for part, shape in zip(found, ((4, 5, 6), (2, 5, 6), (5, 6)), strict=True):
        assert part.shape == (3, *shape)
        assert [one.unique().tolist() for one in part] == [[1.0], [2.0], [1.0]]
