import os
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from stages.core.networks.backbones import build_backbone
from stages.core.networks.settings import BackboneSettings
from stages.core.networks.weights import save_weights

SETTINGS = {
    "name": "resnet10t", "output_stride": 16, "stage": 3, "weights": "none", "frozen_stages": 2, "norm": "frozen",
    "dilated_pool": "drop", "mean": None, "std": None,
}  # fmt: skip


def settings(**changes) -> BackboneSettings:
    return BackboneSettings(**{**SETTINGS, **changes})


@pytest.fixture
def images():
    return torch.randn(2, 3, 70, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "stage", "output_stride", "size"),
    [
        pytest.param("resnet10t", 3, 16, (5, 4), id="resnet, stride 16"),
        pytest.param("resnet10t", 4, 8, (9, 8), id="resnet, dilated to stride 8"),
        pytest.param("mobilenetv2_100", 3, 32, (5, 4), id="mobilenet, without its last stage"),
        pytest.param("mobilenetv2_100", 4, 16, (5, 4), id="mobilenet, dilated to stride 16"),
        pytest.param("mobilenetv3_small_050", 4, 32, (3, 2), id="mobilenet 3"),
        pytest.param("vgg11", 3, 32, (8, 8), id="vgg"),
    ],
)
def test_features_equal_timms_own(name, stage, output_stride, size, images):
    backbone = build_backbone(settings(name=name, stage=stage, output_stride=output_stride)).eval()
    stride = {} if output_stride == 32 else {"output_stride": output_stride}
    theirs = timm.create_model(name, features_only=True, out_indices=(stage,), **stride).eval()
    own = {key.replace("features.", "features_"): tensor for key, tensor in backbone.network.state_dict().items()}
    assert own.keys() <= theirs.state_dict().keys()
    theirs.load_state_dict(own, strict=False)
    features = backbone(images)
    assert torch.allclose(features, theirs(images)[0], atol=1e-4)
    assert features.shape == (2, backbone.channels, *size)
    assert min(backbone.stride * (size[0] - 1), 70) < 70 <= backbone.stride * (size[0] + 1)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv2_100"])
@pytest.mark.parametrize("frozen_stages", [0, 2, 4])
def test_features_are_the_rest_of_the_frozen_prefix(name, frozen_stages, images):
    backbone = build_backbone(settings(name=name, output_stride=32, frozen_stages=frozen_stages)).eval()
    prefix = backbone.frozen_prefix(images)
    assert not prefix.requires_grad
    assert (frozen_stages == 0) == torch.equal(prefix, images)
    assert torch.equal(backbone.rest(prefix), backbone(images))


def test_hrnet_gives_2048_channels_and_cannot_be_split(images):
    """The official CIM pads to a multiple of 32 and uses the fused classification features."""
    backbone = build_backbone(settings(name="hrnet_w18_small", output_stride=32)).eval()
    assert not backbone.can_split
    assert torch.equal(backbone.frozen_prefix(images), images)
    assert backbone(images).shape == (2, backbone.channels, 3, 2) == (2, 2048, 3, 2)
    frozen = {name.split(".")[0] for name, p in backbone.network.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "conv2", "bn2", "layer1", "transition1", "stage2"}


@pytest.mark.parametrize("dilated_pool", ["drop", "stride_1"])
def test_vgg_at_stride_8_dilates_what_follows_the_fourth_pool(dilated_pool, images):
    """CIM leaves pool4 out, BESTIE makes it 3x3 with stride 1; conv5 has dilation 2 in both."""
    vgg = {"name": "vgg16", "output_stride": 8, "stage": 4, "dilated_pool": dilated_pool}
    backbone = build_backbone(settings(**vgg)).eval()
    layers = backbone.network.features
    dilations = [layer.dilation[0] for layer in layers if isinstance(layer, nn.Conv2d)]
    assert dilations == [1] * 10 + [2] * 3
    assert [type(layers[i]).__name__ for i in (4, 9, 16)] == ["MaxPool2d"] * 3
    fourth = layers[23]
    assert isinstance(fourth, nn.Identity) if dilated_pool == "drop" else (fourth.kernel_size, fourth.stride) == (3, 1)
    assert backbone(images).shape == (2, 512, 8, 8)
    assert backbone.stride == 8


def trainable_and_in_training(backbone) -> tuple[set[str], set[str]]:
    trainable = {name.split(".")[0] for name, p in backbone.network.named_parameters() if p.requires_grad}
    norms = {n for n, m in backbone.network.named_modules() if isinstance(m, nn.BatchNorm2d) and m.training}
    return trainable, {name.split(".")[0] for name in norms}


@pytest.mark.parametrize(
    ("norm", "norms_in_training"),
    [pytest.param("frozen", set(), id="frozen"), pytest.param("train", {"layer2", "layer3"}, id="train")],
)
def test_frozen_stages_and_norms_stay_so_in_training(norm, norms_in_training, images):
    backbone = nn.ModuleDict({"b": build_backbone(settings(norm=norm))}).train()["b"]
    assert trainable_and_in_training(backbone) == ({"layer2", "layer3"}, norms_in_training)
    before = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    backbone(images).sum().backward()
    changed = {n.split(".")[1] for n, b in backbone.named_buffers() if not torch.equal(b, before[n])}
    assert changed == norms_in_training
    assert backbone.network.layer2[0].bn1.weight.grad is not None


def test_resnet50_has_the_trainable_tensors_of_the_official_cim():
    """96 trainable and 33 frozen tensors, as counted in the official code."""
    backbone = build_backbone(settings(name="resnet50"))
    assert sum(p.requires_grad for p in backbone.parameters()) == 96
    assert sum(not p.requires_grad for p in backbone.parameters()) == 33


def test_local_weights_are_loaded_and_the_head_is_counted(tmp_path, caplog):
    network = timm.create_model("resnet10t")
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    with caplog.at_level("INFO"):
        backbone = build_backbone(settings(weights=str(tmp_path / "w.safetensors")))
    assert torch.equal(backbone.network.layer3[0].conv1.weight, network.layer3[0].conv1.weight)
    left_over = sum(k.startswith(("layer4", "fc")) for k in network.state_dict())
    assert f"{left_over} others there not used" in caplog.text


def test_weights_of_a_classifier_serve_a_shorter_backbone(tmp_path):
    classifier = nn.ModuleDict({"backbone": build_backbone(settings(stage=4)), "head": nn.Conv2d(512, 3, 1)})
    save_weights(tmp_path / "c.safetensors", classifier, {})
    backbone = build_backbone(settings(weights="classifier"), classifier=tmp_path / "c.safetensors")
    ours, theirs = backbone.network.state_dict(), classifier["backbone"].network.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_noise_is_said(caplog):
    build_backbone(settings())
    assert "resnet10t starts from noise" in caplog.text


def without_stage(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("layer3")}


def of_another_width(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([tensor, tensor]) if tensor.ndim else tensor for name, tensor in tensors.items()}


def of_another_model(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"module.{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(without_stage, r"lacks \d+ of the .* such as \['layer3", id="missing stage"),
        pytest.param(of_another_width, r"other shapes than resnet10t: \['bn1.bias \(128,\), not \(64,\)'", id="shapes"),
        pytest.param(of_another_model, r"has none of the \d+ tensors .*'module\.bn1", id="nothing fits"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, change, message):
    save_file(change(timm.create_model("resnet10t").state_dict()), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=message):
        build_backbone(settings(weights=str(tmp_path / "w.safetensors")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"name": "resnet51"}, "timm has no model 'resnet51'", id="name"),
        pytest.param({"name": "densenet121", "output_stride": 32}, "families that can be used", id="family"),
        pytest.param({"name": "mobilenetv3_small_050"}, "cannot have output_stride 16; set 32", id="stride"),
        pytest.param({"stage": 7}, "has stages 0 to 4, asked for stage 7", id="stage"),
        pytest.param({"weights": "classifier"}, "this step has none", id="no classifier"),
        pytest.param({"frozen_stages": 5}, "but stages 0 to 3 are used", id="too many frozen stages"),
    ],
)
def test_impossible_backbones_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(settings(**changes))


def test_weights_file_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match=r"no weights at lost\.safetensors"):
        build_backbone(settings(weights="lost.safetensors"))


@pytest.mark.skipif("TAGMASK_DATA" not in os.environ, reason="TAGMASK_DATA is not set")
@pytest.mark.parametrize(
    ("file", "changes"),
    [
        pytest.param("mobilenetv2_100", {"name": "mobilenetv2_100", "stage": 4}, id="mobilenet"),
        pytest.param("resnet18_stride16", {"name": "resnet18", "stage": 3}, id="resnet18 without its last stage"),
    ],
)
def test_shipped_weights_fit(file, changes, images):
    path = Path(os.environ["TAGMASK_DATA"]) / "weights" / f"{file}.safetensors"
    backbone = build_backbone(settings(weights=str(path), **changes)).eval()
    assert torch.isfinite(backbone(images)).all()
