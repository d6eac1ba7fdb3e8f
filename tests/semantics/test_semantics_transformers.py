"""Vision transformers as backbones of segmentation networks."""

import pytest
import torch
from torch.nn import functional

from stages.core.networks.backbones import build_backbone
from stages.semantics.network import SegmentationNetwork

pytestmark = pytest.mark.usefixtures("small_transformers")


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch16_dinov3"])
@pytest.mark.parametrize("low_stage", [None, 1])
def test_logits_of_an_image_of_any_size_are_those_of_whole_patches(tiny, name, low_stage):
    backbone = {"name": name, "output_stride": 32, "stage": 2, "frozen_stages": 1}
    settings = tiny(train={"backbone": backbone, "head": {"low_stage": low_stage}}).train
    torch.manual_seed(0)
    network = SegmentationNetwork(
        build_backbone(settings.backbone), stage=2, class_count=3, settings=settings.head
    ).eval()
    x, stride = torch.randn(1, 3, 75, 61), network.backbone.stride
    padded = functional.pad(x, (0, -61 % stride, 0, -75 % stride))
    with torch.no_grad():
        logits, whole = network(x), network(padded)
    assert logits.shape == (1, 4, 75, 61)
    assert torch.equal(logits, whole[..., :75, :61])
    network.train()(x).square().sum().backward()
    assert network.backbone.network.blocks[2].attn.proj.weight.grad is not None
    assert network.backbone.network.blocks[0].attn.proj.weight.grad is None
