"""Loss terms by hand (equations 3 to 6)."""

import math

import pytest
import torch

from stages.bestie.losses import center_loss, guided, offset_loss, semantic_loss, weighted_losses
from stages.bestie.network import Outputs
from stages.bestie.targets import Targets


def labels_of(*rows):
    return torch.tensor([rows], dtype=torch.uint8)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param(1.0, (3 * math.log(2) + math.log(3)) / 8, id="all pixels (paper)"),
        pytest.param(0.125, math.log(3), id="the hardest one of eight"),
        pytest.param(0.25, (math.log(3) + math.log(2)) / 2, id="two of eight"),
        pytest.param(0.75, (math.log(3) + 3 * math.log(2)) / 6, id="uncertain pixels count as zeros in the base"),
        pytest.param(0.01, math.log(3), id="at least one"),
        pytest.param(0.3, (math.log(3) + math.log(2)) / 2, id="whole pixels"),
    ],
)
def test_cross_entropy_averages_the_hardest_pixels(share, expected):
    """Equation 5; official: the hardest 20 % of the batch, uncertain pixels as zeros."""
    logits = torch.zeros(1, 2, 2, 4)
    logits[0, 0, 0, 0] = math.log(2)  # probabilities 2/3 and 1/3, label 1
    loss = semantic_loss(logits, labels_of([1, 0, 1, 0], [255, 255, 255, 255]), share=share)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_only_uncertain_pixels_cost_nothing():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = semantic_loss(logits, labels_of([255, 255], [255, 255]), share=0.2)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_errors_are_divided_by_the_number_of_labelled_pixels_of_the_batch():
    """Equations 3 and 4: not by the weights, the classes, the axes or each image by itself."""
    heatmap, offsets = torch.zeros(2, 3, 2, 2), torch.zeros(2, 2, 2, 2)
    weights = torch.tensor([[[1.0, 0.5], [0.0, 0.0]], [[0.0, 0.0], [0.25, 0.0]]])
    heatmap[0, 0, 0, 0], heatmap[0, 2, 0, 0] = 3.0, 1.0  # 10
    heatmap[0, 1, 0, 1] = 2.0  # 4, weight 0.5
    heatmap[1, 0, 1, 1] = 100.0  # not labelled
    assert center_loss(heatmap, torch.zeros_like(heatmap), weights).item() == pytest.approx(12 / 3)
    assert center_loss(heatmap, heatmap - 1, weights).item() == pytest.approx(3 * 1.75 / 3)  # classes, sum of weights
    offsets[0, :, 0, 0] = torch.tensor([-3.0, 4.0])  # 7
    offsets[1, 1, 1, 0] = -8.0  # 8, weight 0.25
    offsets[1, 0, 0, 0] = 50.0  # not labelled
    target = torch.zeros_like(offsets)
    target[0, 1, 0, 1] = 2.0  # 2, weight 0.5
    assert offset_loss(offsets, target, weights).item() == pytest.approx(10 / 3)


@pytest.mark.parametrize("term", [center_loss, offset_loss])
def test_without_labelled_pixels_a_term_is_zero_and_has_a_gradient(term):
    maps = torch.full((1, 2, 2, 2), 1e6, requires_grad=True)
    loss = term(maps, torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2))
    loss.backward()
    assert loss == 0
    assert not maps.grad.any()


def test_without_guidance_all_other_pixels_count_fully():
    """Table 3, without instance-aware guidance."""
    weights = torch.tensor([[[0.25, 0.0]]])
    assert guided(weights, guidance=True).tolist() == [[[0.25, 0.0]]]
    assert guided(weights, guidance=False).tolist() == [[[0.25, 1.0]]]


NONE = torch.zeros(2, dtype=torch.bool)  # of the two images none is known to show no instance


def case():
    generator = torch.Generator().manual_seed(0)
    outputs = Outputs(*(torch.randn(2, c, 4, 4, generator=generator, requires_grad=True) for c in (4, 3, 2)))
    labels = torch.randint(0, 4, (2, 4, 4), generator=generator).to(torch.uint8)
    pseudo, refined = (
        Targets(
            *(torch.rand(2, c, 4, 4, generator=generator) for c in (3, 2)), torch.rand(2, 4, 4, generator=generator)
        )
        for _ in range(2)
    )
    return outputs, labels, pseudo, refined


def test_terms_have_their_weights_and_shares(official):
    """Equation 6: 200, 0.01 and 1; official: half of each of pseudo and refined."""
    outputs, labels, pseudo, refined = case()
    settings = official(train={"losses": {"refined_share": 0.25}}).train.losses
    terms = weighted_losses(
        outputs, labels, pseudo=pseudo, refined=refined, point_supervision=False, negative=NONE, settings=settings
    )
    expected = {
        "semantic": semantic_loss(outputs.semantic, labels, share=0.2),
        "center": 100 * center_loss(outputs.heatmap, pseudo.heatmap, pseudo.weights),
        "offset": 0.005 * offset_loss(outputs.offsets, pseudo.offsets, pseudo.weights),
        "refined_center": 50 * center_loss(outputs.heatmap, refined.heatmap, refined.weights),
        "refined_offset": 0.0025 * offset_loss(outputs.offsets, refined.offsets, refined.weights),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-6), name
    sum(terms.values()).backward()
    assert all(part.grad.any() for part in outputs)


def test_without_refined_labels_there_are_no_such_terms(official):
    outputs, labels, pseudo, _ = case()
    terms = weighted_losses(
        outputs,
        labels,
        pseudo=pseudo,
        refined=None,
        point_supervision=False,
        negative=NONE,
        settings=official().train.losses,
    )
    assert list(terms) == ["semantic", "center", "offset"]


def test_with_points_the_refined_center_term_is_that_of_the_pseudo_labels(official):
    """Official code: c2 = c1; the offsets have their own labels."""
    outputs, labels, pseudo, refined = case()
    refined = refined._replace(heatmap=pseudo.heatmap, weights=torch.ones(2, 4, 4))
    terms = weighted_losses(
        outputs,
        labels,
        pseudo=pseudo,
        refined=refined,
        point_supervision=True,
        negative=NONE,
        settings=official().train.losses,
    )
    assert terms["refined_center"].item() == terms["center"].item()
    expected = 0.005 * offset_loss(outputs.offsets, refined.offsets, refined.weights)
    assert terms["refined_offset"].item() == pytest.approx(expected.item())


def test_points_of_some_images_decide_for_these_alone(official):
    outputs, labels, pseudo, refined = case()
    refined = refined._replace(weights=torch.ones(2, 4, 4))
    settings = official().train.losses
    terms = weighted_losses(
        outputs,
        labels,
        pseudo=pseudo,
        refined=refined,
        point_supervision=torch.tensor([True, False]),
        negative=NONE,
        settings=settings,
    )
    weights = torch.stack([pseudo.weights[0], refined.weights[1]])
    expected = settings.center * settings.refined_share * center_loss(outputs.heatmap, refined.heatmap, weights)
    assert terms["refined_center"].item() == pytest.approx(expected.item())


def test_without_guidance_background_is_learnt_as_background(official):
    outputs, labels, pseudo, _ = case()
    empty = Targets(*(torch.zeros_like(part) for part in pseudo))
    settings = official(train={"losses": {"guidance": False}}).train.losses
    terms = weighted_losses(
        outputs, labels, pseudo=empty, refined=None, point_supervision=False, negative=NONE, settings=settings
    )
    assert terms["center"].item() == pytest.approx(100 * outputs.heatmap.square().sum(1).mean().item(), rel=1e-5)
    assert terms["offset"].item() == pytest.approx(0.005 * outputs.offsets.abs().sum(1).mean().item(), rel=1e-5)


def test_center_heatmaps_of_negatives_are_to_be_zero_in_a_term_of_their_own(official):
    """The other terms stay as they are; uncertain pixels, which a crop adds, do not count."""
    outputs, labels, pseudo, refined = case()
    labels[1] = 0
    labels[1, :, 3] = 255
    settings = official().train.losses
    given = {"pseudo": pseudo, "refined": refined, "point_supervision": False, "settings": settings}
    plain = weighted_losses(outputs, labels, negative=NONE, **given)
    terms = weighted_losses(outputs, labels, negative=torch.tensor([False, True]), **given)
    expected = 100 * outputs.heatmap[1, :, :, :3].square().sum() / 12
    assert terms.pop("negative_center").item() == pytest.approx(expected.item(), rel=1e-6)
    assert {name: value.item() for name, value in terms.items()} == {
        name: value.item() for name, value in plain.items()
    }
