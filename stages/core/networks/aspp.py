"""Atrous spatial pyramid pooling (DeepLab-v3, Chen et al., 2017), for networks that look at several reaches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class AtrousPyramidPooling(nn.Module):
    """Features (B, inputs, h, w) at several reaches, joined: 1x1, 3x3 of each rate, and the mean of the image.

    Differs from DeepLab-v3: the branch of the mean has no batch norm, as one value per image and channel has no
    variance to speak of (as in Panoptic-DeepLab).
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        *,
        rates: Sequence[int],
        image_pooling: bool = True,
        mean_bias: bool = False,
        mean_first: bool = False,
        dropout: float | None = None,
    ) -> None:
        """Build the branches.

        Args:
            inputs: channels of the features.
            channels: of each branch and of the answer.
            rates: dilations of the 3x3 convolutions, features.
            image_pooling: whether there is a branch of the mean.
            mean_bias: whether its convolution has a bias.
            mean_first: whether it runs before the others. The answer is the same, but gradients are summed in another
                order, which is their last bits.
            dropout: share of the answer's values that training leaves out; None: no such layer.
        """
        super().__init__()
        self.mean_first = mean_first
        self.branches = nn.ModuleList([convolution(inputs, channels)])
        self.branches.extend(convolution(inputs, channels, side=3, dilation=rate) for rate in rates)
        self.mean = None
        if image_pooling:
            self.mean = nn.Sequential(nn.Conv2d(inputs, channels, 1, bias=mean_bias), nn.ReLU())
        joined = convolution(channels * (1 + len(rates) + image_pooling), channels)
        self.project = joined if dropout is None else nn.Sequential(*joined, nn.Dropout(dropout))

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w)."""
        if self.mean is None:
            return self.project(torch.cat([branch(features) for branch in self.branches], 1))
        if self.mean_first:
            mean = self._mean(features)
            branches = [branch(features) for branch in self.branches]
        else:
            branches = [branch(features) for branch in self.branches]
            mean = self._mean(features)
        return self.project(torch.cat([*branches, mean], 1))

    def _mean(self, features: Tensor) -> Tensor:
        assert self.mean is not None  # asked for where there is such a branch
        return self.mean(features.mean((2, 3), keepdim=True)).expand(-1, -1, *features.shape[-2:])


def convolution(inputs: int, channels: int, *, side: int = 1, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the size of the features, batch norm and ReLU."""
    padding = dilation * (side // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, channels, side, padding=padding, dilation=dilation, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )
