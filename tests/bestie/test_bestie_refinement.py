"""Self-refinement against plain loops over components (section 3.5), and by hand."""

import numpy as np
import pytest
import torch

from stages.bestie.components import batched
from stages.bestie.network import Outputs
from stages.bestie.refinement import refined_targets, refined_targets_from_points
from stages.bestie.targets import Points, Targets
from stages.core.artifacts.map_components import class_components, class_regions
from tests.bestie import reference
from tests.bestie.test_bestie_grouping import CASES, CLASS_COUNT, batch_of, random_case


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("changes", CASES)
@pytest.mark.parametrize("weight", ["center", "center_and_class"])
def test_refined_labels_equal_plain_loops(official, seed, changes, weight):
    settings = official().train.refinement
    settings = settings.model_copy(
        update={
            "grouping": settings.grouping.model_copy(update=changes), "weight": weight,
            "max_instances": None if seed % 2 else 3,
        }
    )  # fmt: skip
    labels, tags, heatmap, offsets = random_case(seed, size=(32, 40))
    semantic = torch.randn(2, CLASS_COUNT + 1, 32, 40, generator=torch.Generator().manual_seed(seed))
    settings = settings.model_copy(update={"min_area": 12})
    expected = reference.refine(semantic, heatmap, offsets, labels, tags, sigma=2.0, settings=settings)
    found = refined_targets(
        Outputs(semantic, heatmap, offsets), batch_of(labels, tags, 12), sigma=2.0, settings=settings
    )
    for own, plain in zip(found, expected, strict=True):
        np.testing.assert_allclose(own.numpy(), plain, rtol=1e-5, atol=1e-6)


@pytest.mark.cuda
@pytest.mark.parametrize("seed", range(3))
def test_a_gpu_gives_the_same_labels(official, seed):
    settings = official().train.refinement.model_copy(update={"min_area": 12})
    labels, tags, heatmap, offsets = random_case(seed)
    outputs = Outputs(torch.randn(2, CLASS_COUNT + 1, 48, 56), heatmap, offsets)
    parts = batch_of(labels, tags, 12)
    here = refined_targets(outputs, parts, sigma=2.0, settings=settings)
    there = refined_targets(
        Outputs(*(part.cuda() for part in outputs)), parts.to(torch.device("cuda")), sigma=2.0, settings=settings
    )
    for own, other in zip(there, here, strict=True):
        torch.testing.assert_close(own.cpu(), other)


def uniform_logits(size, *, class_count=1):
    return torch.zeros(1, class_count + 1, *size)


def two_peaks(official, *, peaks, changes=None, weight="center_and_class", logits=None, steps=None):
    """A map of one class, 8 x 60, with the given scores; offsets point to the nearest column of a peak."""
    heatmap = torch.zeros(1, 1, 8, 60)
    for (y, x), value in peaks.items():
        heatmap[0, 0, y, x] = value
    columns = torch.arange(60)
    offsets = torch.zeros(1, 2, 8, 60)
    if peaks:
        yx = torch.tensor(list(peaks))
        nearest = (yx[:, 1, None] - columns).abs().argmin(0)
        offsets[0, 1] = (yx[nearest, 1] - columns).float()
    if steps is not None:
        offsets = steps
    settings = official(train={"refinement": {"weight": weight, "grouping": {"clustering": False}}}).train.refinement
    settings = settings.model_copy(update=changes or {})
    parts = batch_of(np.ones((1, 8, 60), np.uint8), np.array([[True]]), 50)
    outputs = Outputs(uniform_logits((8, 60)) if logits is None else logits, heatmap, offsets)
    return refined_targets(outputs, parts, sigma=1.0, settings=settings)


def test_weights_are_the_centers_score_times_mean_probability(official):
    """Official code: the mean of the class's probability over the instance; all of equal logits is 1/2."""
    found = two_peaks(official, peaks={(3, 5): 0.8, (4, 45): 0.6})
    assert found.weights[0, 0, 0].item() == pytest.approx(0.4)
    assert found.weights[0, 7, 59].item() == pytest.approx(0.3)
    assert found.offsets[0, :, 0, 0].tolist() == [3, 5]
    assert found.offsets[0, :, 7, 59].tolist() == [-3, -14]
    assert (found.heatmap[0, 0] == 1).nonzero().tolist() == [[3, 5], [4, 45]]


def test_weights_are_the_centers_score(official):
    """Equation 2."""
    found = two_peaks(official, peaks={(3, 5): 0.8, (4, 45): 0.6}, weight="center")
    assert found.weights[0, [0, 7], [0, 59]].tolist() == pytest.approx([0.8, 0.6])


@pytest.mark.parametrize("weight", ["center", "center_and_class"])
def test_weights_are_at_most_one(official, weight):
    logits = torch.tensor([0.0, 50.0])[None, :, None, None].expand(1, 2, 8, 60)
    found = two_peaks(official, peaks={(3, 5): 1.7}, weight=weight, logits=logits)
    assert found.weights.unique().tolist() == [1.0]


@pytest.mark.parametrize("weight", [("center", 0.25), ("center_and_class", 0.5)])
def test_an_instance_without_its_peak_points_to_the_centroid_of_its_component(official, weight):
    """Official code: all offsets point far right, so the right part has the left's pixels but no score of 0.3."""
    steps = torch.zeros(1, 2, 8, 60)
    steps[0, 1] = (50 - torch.arange(60)).float()
    steps[0, 1, :, 45] = -40.0  # the peak's own column belongs to the other center
    heatmap = {(3, 5): 0.4, (4, 45): 0.6, (1, 7): 0.25}
    steps[0, 1, :, 5] = 0.0
    found = two_peaks(official, peaks=heatmap, steps=steps, weight=weight[0])
    assert found.weights[0, 0, 0].item() == pytest.approx(weight[1])
    assert found.offsets[0, :, 0, 0].tolist() == [3, 29]  # centroid (3.5, 29.5), truncated
    assert found.heatmap[0, 0, 3, 29] == 1
    # the left center's instance holds both peaks, the right one's is the highest
    assert found.offsets[0, :, 0, 5].tolist() == [4, 40]


@pytest.mark.parametrize(("limit", "kept"), [(2, True), (1, False), (None, True)])
def test_a_component_of_too_many_instances_is_left_out(official, limit, kept):
    found = two_peaks(official, peaks={(3, 5): 0.8, (4, 45): 0.6}, changes={"max_instances": limit})
    assert bool(found.weights.any()) == kept
    assert bool(found.heatmap.any()) == kept
    assert bool(found.offsets.any()) == kept


def test_nothing_is_learnt_where_no_center_is_found(official):
    assert not any(part.any() for part in two_peaks(official, peaks={(3, 5): 0.29}))


def test_labels_carry_no_gradient(official):
    labels, tags, heatmap, offsets = random_case(1)
    leaves = [torch.randn(2, CLASS_COUNT + 1, 48, 56), heatmap.clone(), offsets.clone()]
    outputs = Outputs(*(leaf.requires_grad_() for leaf in leaves))
    found = refined_targets(outputs, batch_of(labels, tags, 12), sigma=2.0, settings=official().train.refinement)
    assert not any(part.requires_grad for part in found)


@pytest.mark.parametrize("size", [(1, 1), (64, 32)])
def test_a_batch_without_components_is_empty(official, size):
    outputs = Outputs(torch.randn(2, 4, *size), torch.randn(2, 3, *size), torch.randn(2, 2, *size))
    parts = batch_of(np.zeros((2, *size), np.uint8), np.ones((2, 3), bool), 50)
    found = refined_targets(outputs, parts, sigma=6.0, settings=official().train.refinement)
    assert [tuple(part.shape) for part in found] == [(2, 3, *size), (2, 2, *size), (2, *size)]
    assert not any(part.any() for part in found)


def point_case(labels, rows, offsets):
    """Refined labels of one image of two classes, both tagged, from points (class, y, x)."""
    size = labels.shape
    parts = batched([class_regions(labels, classes=np.array([True, True]))])
    table = torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)
    points = Points(table[:, 1:], torch.zeros(len(rows), dtype=torch.int64), table[:, 0])
    pseudo = Targets(torch.rand(1, 2, *size), torch.zeros(1, 2, *size), torch.zeros(1, *size))
    outputs = Outputs(torch.zeros(1, 3, *size), torch.zeros(1, 2, *size), offsets)
    found = refined_targets_from_points(outputs, parts, points, pseudo=pseudo)
    assert torch.equal(found.heatmap, pseudo.heatmap)
    return found


def test_with_points_every_pixel_of_a_class_goes_to_the_point_that_its_offset_leads_to():
    """Point supervision (official code): weight 1, ties to the first point given, parts need not be connected."""
    labels = np.array([[1, 1, 0, 1, 1, 2, 2, 255]], np.uint8)
    offsets = torch.zeros(1, 2, 1, 8)
    offsets[0, 1, 0, 0] = 4.0
    found = point_case(labels, [(0, 0, 4), (0, 0, 0), (1, 0, 0)], offsets)
    assert found.weights[0, 0].tolist() == [1, 1, 0, 1, 1, 1, 1, 0]
    assert found.offsets[0, 1, 0].tolist() == [4, -1, 0, 1, 0, -5, -6, 0]


def test_with_points_equally_near_ones_go_to_the_first_and_the_first_column_counts():
    labels = np.array([[1, 1, 1]], np.uint8)
    for rows, step in (([(0, 0, 0), (0, 0, 2)], -1), ([(0, 0, 2), (0, 0, 0)], 1)):
        assert point_case(labels, rows, torch.zeros(1, 2, 1, 3)).offsets[0, 1, 0, 1] == step


def test_with_points_a_class_without_one_is_not_labelled():
    labels = np.array([[1, 2, 2]], np.uint8)
    assert point_case(labels, [(0, 0, 0)], torch.zeros(1, 2, 1, 3)).weights[0, 0].tolist() == [1, 0, 0]
    assert not point_case(labels, [], torch.zeros(1, 2, 1, 3)).weights.any()


def test_parts_of_one_image_are_numbered_on_in_the_next():
    labels = np.array([[[1, 0, 1, 2]], [[2, 0, 0, 1]]], np.uint8)
    parts = batched([class_components(one, classes=np.array([True, True]), min_area=1) for one in labels])
    assert parts.ids.tolist() == [[[1, 0, 2, 3]], [[5, 0, 0, 4]]]
    assert parts.images.tolist() == [0, 0, 0, 1, 1]
    assert parts.classes.tolist() == [0, 0, 1, 0, 1]


def test_an_instance_whose_highest_score_is_the_threshold_itself_has_its_center_there(official):
    """As above, with 0.3 in place of 0.25."""
    steps = torch.zeros(1, 2, 8, 60)
    steps[0, 1] = (50 - torch.arange(60)).float()
    steps[0, 1, :, 45], steps[0, 1, :, 5] = -40.0, 0.0
    found = two_peaks(official, peaks={(3, 5): 0.4, (4, 45): 0.6, (1, 7): 0.3}, steps=steps, weight="center")
    assert found.weights[0, 0, 0].item() == pytest.approx(0.3)
    assert found.offsets[0, :, 0, 0].tolist() == [1, 7]


def test_with_points_images_of_a_batch_do_not_see_the_points_of_others():
    labels = np.array([[[1, 1, 2, 2]], [[2, 2, 1, 1]]], np.uint8)
    regions = batched([class_regions(one, classes=np.array([True, True])) for one in labels])
    rows = torch.tensor([(0, 0, 0, 0), (0, 1, 0, 3), (1, 0, 0, 2), (1, 1, 0, 1)])  # image, class, y, x
    points = Points(rows[:, 2:], rows[:, 0], rows[:, 1])
    outputs = Outputs(torch.zeros(2, 3, 1, 4), torch.zeros(2, 2, 1, 4), torch.zeros(2, 2, 1, 4))
    pseudo = Targets(torch.zeros(2, 2, 1, 4), torch.zeros(2, 2, 1, 4), torch.zeros(2, 1, 4))
    found = refined_targets_from_points(outputs, regions, points, pseudo=pseudo)
    assert found.offsets[:, 1, 0].tolist() == [[0, -1, 1, 0], [1, 0, 0, -1]]
    assert (found.weights == 1).all()
