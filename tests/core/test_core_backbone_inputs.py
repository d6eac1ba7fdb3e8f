"""Mean and deviation of the images that a backbone is given."""

import numpy as np
import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from stages.core.images.loading import normalise
from stages.core.networks.backbones import build_backbone
from stages.core.networks.levels import levels
from stages.core.networks.settings import PyramidBackboneSettings
from stages.core.networks.weights import load_weights, save_weights
from tests.core.test_core_backbones import settings
from tests.project.test_project_published_settings import load, stack

LITE = {"name": "tf_efficientnet_lite0", "stage": 1, "frozen_stages": 1}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


def as_timm_normalises(rgb: np.ndarray, name: str) -> torch.Tensor:
    """The image as timm's own pipeline hands it to the network."""
    wanted = timm.get_pretrained_cfg(name)
    mean, std = (torch.tensor(values)[:, None, None] for values in (wanted.mean, wanted.std))
    return ((torch.from_numpy(rgb).permute(2, 0, 1) / 255 - mean) / std)[None]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("tf_efficientnet_lite0", id="a half, a half"),
        pytest.param("vit_tiny_patch16_224.augreg_in21k_ft_in1k", id="transformer"),
        pytest.param("eva02_tiny_patch14_224", id="CLIP's"),
        pytest.param("mobilenetv2_100", id="ImageNet's"),
        pytest.param("resnet18", id="ImageNet's, ResNet"),
    ],
)
def test_a_network_sees_what_its_configuration_at_timm_names(name, rgb):
    backbone = build_backbone(settings(name=name, output_stride=32)).eval()
    seen = backbone.inputs(torch.from_numpy(normalise(rgb))[None])
    assert torch.allclose(seen, as_timm_normalises(rgb, name), atol=1e-5)


@pytest.mark.parametrize("frozen_stages", [0, 1, 2])
def test_features_are_timms_own_of_its_own_inputs(frozen_stages, rgb):
    backbone = build_backbone(settings(**LITE | {"frozen_stages": frozen_stages})).eval()
    theirs = timm.create_model(LITE["name"], features_only=True, out_indices=(0, 1), output_stride=16).eval()
    theirs.load_state_dict(backbone.network.state_dict(), strict=False)
    ours, wanted = torch.from_numpy(normalise(rgb))[None], theirs(as_timm_normalises(rgb, LITE["name"]))
    assert torch.allclose(backbone(ours), wanted[1], atol=1e-5)
    assert torch.allclose(backbone.rest(backbone.frozen_prefix(ours)), wanted[1], atol=1e-5)
    for found, expected in zip(levels(backbone, ours, [0, 1]).values(), wanted, strict=True):
        assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(wanted[1], theirs(ours)[1], atol=1e-2)


def test_hrnets_levels_are_of_its_own_inputs(rgb):
    values = {"name": "hrnet_w18_small", "stages": [1, 2], "weights": "none", "frozen_stages": 0, "norm": "frozen"}
    plain, half = (
        build_backbone(PyramidBackboneSettings(**values, **inputs).plain).eval()
        for inputs in ({"mean": None, "std": None}, HALF)
    )
    half.network.load_state_dict(plain.network.state_dict())
    x = torch.from_numpy(normalise(rgb[:32, :32]))[None]
    first, second = (levels(backbone, seen, [1, 2]) for backbone, seen in ((half, x), (plain, half.inputs(x))))
    assert all(torch.equal(first[stage], second[stage]) for stage in ("1", "2"))
    assert torch.equal(half(x), plain(half.inputs(x)))


def test_nothing_is_added_to_networks_of_imagenets_mean_and_deviation(rgb):
    x = torch.from_numpy(normalise(rgb))[None]
    for given in ({}, {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}):
        backbone = build_backbone(settings(**given))
        assert backbone.inputs(x) is x
        assert not [name for name in backbone.state_dict() if not name.startswith("network.")]


def all_backbones(section):
    """Settings of all backbones of a section of the configuration."""
    if isinstance(section, dict):
        return [found for one in section.values() for found in all_backbones(one)]
    if hasattr(section, "frozen_stages") and hasattr(section, "weights"):
        return [section]
    fields = type(section).model_fields if hasattr(type(section), "model_fields") else ()
    return [found for field in fields for found in all_backbones(getattr(section, field))]


PRESETS = [["voc2012"], ["voc2012_vgg16"], ["voc2012_hrnet"], ["voc2012_bestie"], ["voc2012_label_penet"], ["coco2017"]]


@pytest.mark.parametrize("preset", [[], *PRESETS, ["image_folder"], ["voc_animals"]])
def test_all_presets_keep_imagenets_mean_and_deviation(preset, monkeypatch):
    monkeypatch.setenv("TAGMASK_DATA", "data")
    project = load(*[name for one in preset for name in stack(one)])
    found = all_backbones(project)
    assert len(found) > 3
    for one in found:
        wanted = timm.get_pretrained_cfg(one.name)
        assert (one.mean, one.std) == (None, None)
        assert (wanted.mean, wanted.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), one.name


def test_own_weights_may_have_a_mean_and_deviation_of_their_own(tmp_path, rgb):
    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "w.safetensors")
    given = {"mean": [0.5, 0.4, 0.3], "std": [1.0, 0.5, 0.25]}
    backbone = build_backbone(settings(weights=str(tmp_path / "w.safetensors"), **given))
    seen = backbone.inputs(torch.from_numpy(normalise(rgb))[None])
    expected = (rgb / 255 - given["mean"]) / given["std"]
    assert np.allclose(seen[0].permute(1, 2, 0).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"mean": [0.5, 0.5, 0.5]}, "set both, or null for both", id="mean alone"),
        pytest.param({"std": [0.5, 0.5, 0.5]}, "set both, or null for both", id="deviation alone"),
        pytest.param(HALF | {"mean": [123.7, 116.3, 103.5]}, "less than or equal to 1", id="grey levels"),
        pytest.param(HALF | {"std": [0.5, 0.0, 0.5]}, "greater than 0", id="no deviation"),
        pytest.param(HALF | {"std": [0.5, 0.5]}, "at least 3 items", id="two colours"),
        pytest.param(HALF | {"mean": [0.5, 0.5, float("nan")]}, "finite number", id="not a number"),
        pytest.param(HALF | {"mean": 0.5}, "valid list", id="one number"),
    ],
)
def test_impossible_means_and_deviations_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        settings(**changes)


def test_weights_carry_mean_and_deviation_and_are_never_fed_otherwise(tmp_path):
    trained, path = nn.ModuleDict({"backbone": build_backbone(settings(**HALF))}), tmp_path / "w.safetensors"
    save_weights(path, trained, {})
    assert load_file(path)["backbone.inputs.mean"].tolist() == HALF["mean"]
    again = nn.ModuleDict({"backbone": build_backbone(settings(**HALF), load=False)})
    load_weights(path, again)
    with pytest.raises(ValueError, match=r"2 not in the network, such as \['backbone.inputs.mean"):
        load_weights(path, nn.ModuleDict({"backbone": build_backbone(settings(), load=False)}))


@pytest.mark.parametrize("first", [HALF, {}])
def test_a_classifier_and_what_starts_from_it_see_the_same(tmp_path, first):
    path = tmp_path / "c.safetensors"
    save_weights(path, nn.ModuleDict({"backbone": build_backbone(settings(**first))}), {})
    build_backbone(settings(weights="classifier", **first), classifier=path)
    other = {} if first else HALF
    with pytest.raises(ValueError, match=r"trained on images of mean \[0\.\d+, .* give both networks the same"):
        build_backbone(settings(weights="classifier", **other), classifier=path)
