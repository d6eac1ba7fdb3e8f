"""Vision transformers as backbones of BESTIE."""

import pytest
import torch
from torch.nn import functional

from stages.bestie.network import BestieNetwork

pytestmark = pytest.mark.usefixtures("small_transformers")
NAMES = pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch16_dinov3"])
HIGH = {"kind": "high_resolution", "head_channels": [8, 6, 4]}


@pytest.fixture
def build(official):
    def make(**train):
        torch.manual_seed(0)
        return BestieNetwork(official(train=train).train, class_count=3)

    return make


@NAMES
@pytest.mark.parametrize(("stages", "network"), [([2], HIGH), ([1, 3], None), ([1, 2, 3], {})])
def test_maps_have_the_size_of_the_input_and_every_weight_learns(build, name, stages, network):
    if network is None:
        network = {"semantic_low_channels": [4], "instance_low_channels": [4]}
    built = build(backbone={"name": name, "stages": stages}, network=network)
    outputs = built(torch.randn(2, 3, 64, 96))
    assert [tuple(part.shape) for part in outputs] == [(2, channels, 64, 96) for channels in (4, 3, 2)]
    sum(part.square().sum() for part in outputs).backward()
    assert not [name for name, p in built.named_parameters() if p.grad is None]


@NAMES
def test_maps_are_laid_over_the_image_as_their_features_cover_it(build, name):
    """96 and 128 pixels are no whole number of patches of 14: the image is enlarged to 98 and 140 before."""
    network = build(backbone={"name": name, "stages": [2]}, network=HIGH).eval()
    x = torch.randn(1, 3, 96, 128)
    sides = [-(-side // network.backbone.stride) * network.backbone.stride for side in (96, 128)]
    enlarged = functional.interpolate(x, sides, mode="bilinear", align_corners=False)
    with torch.no_grad():
        maps = network.heads["semantic"](network.backbone(enlarged))
        expected = functional.interpolate(maps, (96, 128), mode="bilinear", align_corners=False)
        assert torch.allclose(network(x).semantic, expected, atol=1e-5)
