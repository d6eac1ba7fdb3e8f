"""Features of several stages of a backbone."""

import pytest
import timm
import torch

from stages.core.networks.backbones import build_backbone
from stages.core.networks.levels import keep_finest_branch, level_channels, levels
from stages.core.networks.settings import PyramidBackboneSettings


def backbone_of(name: str, stages: list[int], frozen_stages: int = 1):
    settings = PyramidBackboneSettings(
        name=name, stages=stages, weights="none", frozen_stages=frozen_stages, norm="frozen", mean=None, std=None
    )
    return build_backbone(settings.plain)


def load_like(features, own):
    """Load a network's tensors into timm's `features_only` form of it, which flattens the first level of names."""
    wanted, found = features.state_dict(), {}
    for key, tensor in own.items():
        flattened = key.replace(".", "_", 1)
        found[key if key in wanted else flattened] = tensor
    assert wanted.keys() <= found.keys()
    features.load_state_dict({key: found[key] for key in wanted})


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        pytest.param("resnet10t", [1, 2, 3, 4], id="resnet"),
        pytest.param("mobilenetv2_035", [2, 4], id="mobilenet, two stages"),
        pytest.param("regnetx_002", [0, 1], id="regnet, with its stem"),
        pytest.param("vgg11", [2, 3, 4], id="vgg"),
        pytest.param("hrnet_w18_small", [1, 2, 3, 4], id="hrnet's branches"),
    ],
)
def test_levels_equal_timms_own(name, stages):
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    backbone = backbone_of(name, stages).eval()
    theirs = timm.create_model(name, features_only=True, out_indices=stages).eval()
    load_like(theirs, backbone.network.state_dict())
    found = levels(backbone, x, stages)
    assert list(found) == [str(stage) for stage in stages]
    for channels, level, expected in zip(level_channels(backbone, stages), found.values(), theirs(x), strict=True):
        assert level.shape[1] == channels
        torch.testing.assert_close(level, expected, rtol=1e-3, atol=1e-4)


def test_frozen_stages_get_no_gradient_and_the_others_do():
    backbone = backbone_of("resnet10t", [1, 2], frozen_stages=2)
    found = levels(backbone, torch.randn(1, 3, 64, 64), [1, 2])
    assert not found["1"].requires_grad
    found["2"].sum().backward()
    trained = {name.split(".")[0] for name, p in backbone.network.named_parameters() if p.grad is not None}
    assert trained == {"layer2"}


@pytest.mark.parametrize("frozen_stages", [0, 4])
def test_the_finest_branch_of_hrnet_is_what_its_stages_give_first(frozen_stages):
    backbone = backbone_of("hrnet_w18_small", [1, 2, 3, 4], frozen_stages=frozen_stages).eval()
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    inner = backbone.network
    stem = inner.act2(inner.bn2(inner.conv2(inner.act1(inner.bn1(inner.conv1(x))))))
    expected = inner.stages(stem)[0]
    keep_finest_branch(backbone)
    found = levels(backbone.train(mode=False), x, [1])
    assert list(found) == ["1"]
    assert torch.equal(found["1"], expected)
    assert level_channels(backbone, [1]) == [found["1"].shape[1]] == [16]
    if frozen_stages == 0:
        found["1"].sum().backward()
        assert all(p.grad is not None for p in backbone.network.parameters())


@pytest.mark.parametrize(
    ("name", "stages", "message"),
    [("resnet10t", [4, 5], "has stages 0 to 4"), ("hrnet_w18_small", [0, 1], "this backbone has stages 1 to 4")],
)
def test_stages_that_are_not_there_are_refused(name, stages, message):
    with pytest.raises(ValueError, match=message):
        level_channels(backbone_of(name, stages), stages)
