"""What boxes of the modules with masks are found on (section 4.1), and what each module has of its own."""

import pytest
import torch

from stages.label_penet.cascade import Cascade
from stages.label_penet.settings import MODULES


def cascade(tiny, box_features):
    settings = tiny(train={"network": {"box_features": box_features}}).finetuning
    torch.manual_seed(0)
    return Cascade(settings.network, settings.losses, class_count=2, modules=list(MODULES))


@pytest.mark.parametrize("module", ["refinement", "segmentation"])
def test_boxes_beside_masks_are_cut_from_pool4_by_the_paper(tiny, module):
    """pool4 keeps the size: the largest of 3 x 3 neighbours of the shared features, whatever the tail makes."""
    network = cascade(tiny, "pool4")
    shared = torch.randn(1, network.backbone.channels, 6, 8)
    boxes, masks = network.stages[module].features(shared)
    assert torch.equal(boxes[0, :, 2, 3], shared[0, :, 1:4, 2:5].amax((1, 2)))
    assert boxes.shape == shared.shape
    assert torch.equal(masks, network.stages[module].tail(shared))


@pytest.mark.parametrize("module", ["refinement", "segmentation"])
def test_or_from_the_modules_own_features(tiny, module):
    network = cascade(tiny, "tail")
    shared = torch.randn(1, network.backbone.channels, 6, 8)
    boxes, masks = network.stages[module].features(shared)
    assert torch.equal(boxes, network.stages[module].tail(shared))
    assert torch.equal(boxes, masks)
    assert network.stages[module].heads.fc.layers[0].in_features == 12 * 3**2


def test_the_detection_module_is_the_same_either_way(tiny):
    pooled, own = (cascade(tiny, kind).stages["detection"].state_dict() for kind in ("pool4", "tail"))
    assert {name: tensor.shape for name, tensor in pooled.items()} == {
        name: tensor.shape for name, tensor in own.items()
    }
