"""Shapes, sizes and first weights of both kinds of network."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stages.bestie.network import BestieNetwork
from stages.core.networks.aspp import AtrousPyramidPooling

PANOPTIC = {
    "backbone": {"name": "resnet50", "stages": [1, 2, 3, 4]},
    "network": {
        "head_channels": [256, 128, 32], "decoder_channels": [256, 128], "aspp_channels": [256, 256],
        "aspp_rates": [3, 6, 9], "semantic_low_channels": [128, 64, 32], "instance_low_channels": [64, 32, 16],
    },
}  # fmt: skip
HIGH = {
    "backbone": {"name": "hrnet_w18_small", "stages": [1]},
    "network": {"kind": "high_resolution", "head_channels": [8, 6, 4]},
}
KINDS = [
    pytest.param({}, id="panoptic_deeplab"),
    pytest.param(HIGH, id="high_resolution"),
    pytest.param({**HIGH, "backbone": {"name": "resnet10t", "stages": [2]}}, id="heads on one stage of a ResNet"),
]


@pytest.fixture
def build(official):
    def make(*, class_count=3, **train):
        torch.manual_seed(0)
        return BestieNetwork(official(train=train).train, class_count=class_count)

    return make


@pytest.mark.parametrize("changes", KINDS)
def test_maps_have_the_size_of_the_input_or_the_one_that_is_asked_for(build, changes):
    network = build(**changes).eval()
    x = torch.randn(2, 3, 64, 96)
    for size, expected in ((None, (64, 96)), ((50, 31), (50, 31))):
        outputs = network(x, size=size)
        assert [tuple(part.shape) for part in outputs] == [(2, c, *expected) for c in (4, 3, 2)]
        assert {part.dtype for part in outputs} == {torch.float32}


@pytest.mark.parametrize("changes", KINDS)
def test_every_weight_is_trained(build, changes):
    """Of HRNet what serves other branches and classification is not there."""
    network = build(**changes)
    sum(part.square().sum() for part in network(torch.randn(2, 3, 64, 64))).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


@pytest.mark.parametrize("changes", KINDS)
def test_maps_are_float32_in_16_bits_too(build, changes):
    network = build(**changes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = network(torch.randn(2, 3, 64, 64))
    assert {part.dtype for part in outputs} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "millions"),
    [
        pytest.param(PANOPTIC, 55.3, id="ResNet-50"),
        pytest.param(
            {"backbone": {"name": "hrnet_w48", "stages": [1]},
             "network": {"kind": "high_resolution", "head_channels": [256, 256, 256]}},
            63.9, id="HRNet-W48",
        ),
    ],
)  # fmt: skip
def test_networks_have_as_many_weights_as_the_official_ones(build, changes, millions):
    network = build(class_count=20, **changes)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize("changes", KINDS)
def test_first_weights_of_decoders_and_heads(build, changes):
    """Official code: N(0, 0.001) and no bias; all batch norms have momentum 0.01."""
    network = build(**changes)
    weights = [
        module
        for part in (network.decoders, network.heads)
        for module in part.modules()
        if isinstance(module, nn.Conv2d)
    ]
    values = torch.cat([module.weight.flatten() for module in weights])
    assert values.std().item() == pytest.approx(0.001, rel=0.1)
    assert abs(values.mean().item()) < 1e-4
    assert not any(module.bias.any() for module in weights if module.bias is not None)
    assert {module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)} == {0.01}
    first = next(module for module in network.backbone.modules() if isinstance(module, nn.Conv2d))
    assert first.weight.std() > 0.01


def test_first_weights_follow_the_settings(build):
    network = build(network={"initial_std": 0.5, "norm_momentum": 0.3})
    assert network.heads["center"].output.weight.std().item() == pytest.approx(0.5, rel=0.5)
    assert {module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)} == {0.3}


def test_pyramid_pooling_has_its_dilations_and_no_normalisation_of_the_mean():
    pooling = AtrousPyramidPooling(4, 6, rates=[3, 6, 9], dropout=0.5)
    assert [branch[0].dilation[0] for branch in pooling.branches] == [1, 3, 6, 9]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in pooling.mean)
    assert pooling(torch.randn(2, 4, 5, 7)).shape == (2, 6, 5, 7)
    pooling.eval()
    assert pooling(torch.randn(1, 4, 1, 1)).shape == (1, 6, 1, 1)


def test_corners_are_aligned_as_in_the_official_networks(build, monkeypatch):
    """Panoptic-DeepLab: everywhere; HRNet: not."""
    seen = []
    plain = nn.functional.interpolate

    def watched(*args, **kwargs):
        seen.append(kwargs["align_corners"])
        return plain(*args, **kwargs)

    for changes, aligned in (({}, True), (KINDS[2].values[0], False)):
        network = build(**changes).eval()
        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr("torch.nn.functional.interpolate", watched)
            network(torch.randn(1, 3, 32, 32))
        assert set(seen) == {aligned}


def test_the_official_hrnet_branch_is_not_widened(build):
    """The finest branch as the last fusion gives it: the first of what timm's stages give."""
    network = build(**HIGH).eval()
    seen = []
    network.heads["center"].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x = torch.randn(1, 3, 64, 64)
    network(x)
    assert seen[0].shape == (1, 16, 16, 16)
    inner = network.backbone.network
    stem = inner.act2(inner.bn2(inner.conv2(inner.act1(inner.bn1(inner.conv1(x))))))
    assert torch.equal(seen[0], inner.stages(stem)[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({**HIGH, "backbone": {"name": "hrnet_w18_small", "stages": [2]}}, "finest branch is used", id="branch"),
        pytest.param({"backbone": {"stages": [1, 2, 9]}}, "has stages 0 to 4", id="no such stage"),
        pytest.param({"backbone": {"name": "resnet9999"}}, "timm has no model", id="name"),
        pytest.param({"backbone": {"weights": "classifier"}}, "this step has none", id="no classifier"),
        pytest.param({"network": {"kind": "high_resolution"}}, "needs one stage", id="stages of heads alone"),
        pytest.param({"network": {"semantic_low_channels": [4]}}, "has 1 entries", id="widths"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(build, changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_weights_of_another_network_are_refused_not_replaced_by_noise(build, tmp_path):
    """Differs from the official code, which goes on from noise."""
    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="has none of the"):
        build(**{**HIGH, "backbone": {**HIGH["backbone"], "weights": str(tmp_path / "w.safetensors")}})


@pytest.mark.parametrize("size", [(33, 64), (64, 40)])
def test_sides_that_32_does_not_divide_are_refused(build, size):
    with pytest.raises(ValueError, match="expected multiples of 32"):
        build()(torch.zeros(1, 3, *size))


def test_frozen_stages_of_hrnet_are_not_trained(build):
    network = build(**{**HIGH, "backbone": {**HIGH["backbone"], "frozen_stages": 2, "norm": "frozen"}}).train()
    network(torch.randn(1, 3, 32, 32)).heatmap.sum().backward()
    trained = {name.split(".")[0] for name, p in network.backbone.network.named_parameters() if p.grad is not None}
    assert trained == {"transition2", "stage3", "transition3", "stage4"}
    assert not any(module.training for module in network.backbone.modules() if isinstance(module, nn.BatchNorm2d))
