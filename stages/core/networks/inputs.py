"""What a network wants its images to look like: the mean and deviation of the colours that it was trained with."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stages.core.images.loading import IMAGENET_MEAN, IMAGENET_STD

PREFIX = "backbone.inputs."  # of the mean and deviation in the weights of a network that stands on the backbone


class Renormalise(nn.Module):
    """Images (B, 3, H, W) that are normalised as ImageNet's, normalised by another mean and deviation.

    Mean and deviation are kept with the weights: what was trained with them is never fed otherwise.
    """

    def __init__(self, mean: np.ndarray, std: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("std", torch.from_numpy(std))

    def forward(self, x: Tensor) -> Tensor:
        """The same images, (x * std of ImageNet + mean of ImageNet - mean) / std."""
        parts = x.new_tensor(IMAGENET_MEAN), x.new_tensor(IMAGENET_STD), self.get_buffer("mean"), self.get_buffer("std")
        first, scale, mean, std = (part[:, None, None] for part in parts)
        return (x * scale + (first - mean)) / std


def input_layer(mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """What brings images to this mean and deviation of red, green and blue (0 to 1); nothing if they are ImageNet's."""
    values = np.array(mean, np.float32), np.array(std, np.float32)
    if np.array_equal(values, (IMAGENET_MEAN, IMAGENET_STD)):
        return nn.Identity()
    return Renormalise(*values)


def check_inputs(found: Mapping[str, Tensor], layer: nn.Module, path: Path) -> None:
    """Raise ValueError unless the network in the file `path` was trained with the mean and deviation of the layer.

    `found` are the tensors of a whole network, whose names start with the backbone's place in it.
    """
    there = {name.removeprefix(PREFIX): tensor for name, tensor in found.items() if name.startswith(PREFIX)}
    given, wanted = _described(there), _described(layer.state_dict())
    if given != wanted:
        raise ValueError(
            f"the backbone in {path} was trained on images of {given}, this one is set to {wanted}; give both "
            "networks the same backbone.mean and backbone.std"
        )


def _described(tensors: Mapping[str, Tensor]) -> str:
    values = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} | {name: tensor.numpy() for name, tensor in tensors.items()}
    mean, std = ([round(float(value), 4) for value in values[name]] for name in ("mean", "std"))
    return f"mean {mean} and deviation {std}"
