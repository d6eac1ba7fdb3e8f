"""What modules do with an image: the terms that they learn, and the features that regions are cut from."""

import pytest
import torch
from torchvision.ops import roi_align

from stages.label_penet.boxes import Objects, Sampled, sampled_mask_loss
from stages.label_penet.network import ClassificationScores
from stages.label_penet.passes import detection_losses, mask_probabilities, multi_label_loss, score_regions
from tests.label_penet.test_label_penet_network import cascade

SIZE = (48, 64)


@pytest.fixture
def network(tiny):
    return cascade(tiny, "pool4").eval()


def shared_of(network):
    return torch.randn(1, network.backbone.channels, 6, 8, generator=torch.Generator().manual_seed(3))


def objects():
    masks = torch.zeros(2, *SIZE, dtype=torch.uint8)
    masks[0, 4:24, 4:24], masks[1, 20:44, 30:60] = 1, 1
    boxes = torch.tensor([[4.0, 4, 24, 24], [30, 20, 60, 44]])
    return Objects(boxes, torch.tensor([1, 2]), torch.tensor([1.0, 0.5]), masks)


@pytest.mark.parametrize(("module", "masks"), [("detection", False), ("refinement", True), ("segmentation", True)])
def test_a_module_learns_boxes_and_where_it_has_them_masks(network, module, masks):
    found = detection_losses(
        network.stages[module], shared_of(network), objects(), size=SIZE, padded=SIZE, settings=network.settings
    )
    assert set(found) == {"objectness", "rpn_box", "classifier", "box", *(["mask"] if masks else [])}
    assert all(term.isfinite() and term > 0 for term in found.values())


def test_masks_are_learnt_of_regions_with_a_class_alone(network):
    """A module that finds no object has no mask to learn; its other terms stay."""
    nothing = Objects(*(part[:0] for part in objects()))
    found = detection_losses(
        network.stages["refinement"], shared_of(network), nothing, size=SIZE, padded=SIZE, settings=network.settings
    )
    assert found["mask"] == 0
    assert found["classifier"] > 0


def test_a_mask_is_learnt_where_its_own_region_lies(network, monkeypatch):
    """Of background, an object, background and another: cut from the module's features for masks, in 4 x 4 bins."""
    module, shared = network.stages["refinement"], shared_of(network)
    boxes = torch.tensor([[0.0, 0, 20, 20], [30, 20, 60, 40], [40, 0, 60, 20], [4, 4, 22, 24]])
    sampled = Sampled(boxes, torch.tensor([0, 2, 0, 1]), torch.tensor([-1, 1, -1, 0]), torch.tensor([1, 0.5, 1, 1]))
    monkeypatch.setattr(module.heads, "sample", lambda *_: sampled)
    found = detection_losses(module, shared, objects(), size=SIZE, padded=SIZE, settings=network.settings)
    own = roi_align(module.features(shared)[1], [boxes[[1, 3]]], 4, 1 / 8, 0, aligned=True)
    expected = sampled_mask_loss(module.mask(own), sampled, objects())
    torch.testing.assert_close(found["mask"], expected, rtol=1e-5, atol=1e-6)


def test_regions_are_cut_from_the_features_under_them(network):
    """As torchvision's RoIAlign, in 3 x 3 bins; a delta of zero gives the region itself as box of each class."""
    module, shared = network.stages["refinement"], shared_of(network)
    torch.nn.init.zeros_(module.heads.boxes.weight)
    found = score_regions(module, shared, size=SIZE, padded=SIZE, before=50, after=10)
    assert found.boxes.shape == (10, 2, 4)
    expected = roi_align(module.features(shared)[0], [found.boxes[:, 0]], 3, 1 / 8, 0, aligned=True)
    torch.testing.assert_close(found.features, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(10))


def test_a_mask_is_that_of_its_class_from_the_modules_own_features(network):
    module, shared = network.stages["refinement"], shared_of(network)
    boxes = objects().boxes
    found = mask_probabilities(module, shared, boxes, torch.tensor([1, 0]))
    with torch.no_grad():
        grown = module.mask(roi_align(module.features(shared)[1], [boxes], 4, 1 / 8, 0, aligned=True)).sigmoid()
    torch.testing.assert_close(found, torch.stack([grown[0, 1], grown[1, 0]]), rtol=1e-4, atol=1e-5)
    assert found.shape == (2, 8, 8)


def test_with_binary_classes_stand_by_themselves(network):
    logits, weights = torch.tensor([[2.0, -1.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    scores = ClassificationScores(logits, weights.softmax(0), torch.zeros(0), torch.zeros(2, 3))
    settings = network.settings.model_copy(update={"mil": "binary"})
    totals = (logits * weights.softmax(0)).sum(0).sigmoid()
    expected = -(totals[0].log() + (1 - totals[1]).log()) / 2
    torch.testing.assert_close(multi_label_loss(scores, torch.tensor([True, False]), settings), expected)
