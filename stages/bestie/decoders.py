"""Parts of Panoptic-DeepLab (Cheng et al., CVPR 2020), and the heads that both networks of BESTIE have."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.core.networks.aspp import AtrousPyramidPooling, convolution

FUSION_SIDE = 5  # of the depthwise convolutions that join features


class Decoder(nn.Module):
    """Pyramid pooling of the deepest features, then one finer stage after the other joined to it."""

    def __init__(
        self, channels_in: Sequence[int], *, pooled: int, reduced: Sequence[int], channels: int, rates: Sequence[int],
        dropout: float,
    ) -> None:  # fmt: skip
        """Build a decoder.

        Args:
            channels_in: of the stages, from the finest on.
            pooled: channels of the pyramid pooling.
            reduced: to how many channels each but the last stage is reduced, from the deepest on.
            channels: that the decoder gives.
            rates: dilations of the pyramid pooling.
            dropout: after it.
        """
        super().__init__()
        self.pooling = AtrousPyramidPooling(channels_in[-1], pooled, rates=rates, dropout=dropout, mean_first=True)
        self.reductions, self.fusions = nn.ModuleList(), nn.ModuleList()
        width = pooled
        for low, small in zip(reversed(channels_in[:-1]), reduced, strict=True):
            self.reductions.append(convolution(low, small))
            self.fusions.append(_separable(width + small, channels))
            width = channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """(B, channels, h, w) of the finest of the stages (B, D, h, w), which come from the finest on."""
        x = self.pooling(features[-1])
        for low, reduction, fusion in zip(reversed(features[:-1]), self.reductions, self.fusions, strict=True):
            x = functional.interpolate(x, low.shape[-2:], mode="bilinear", align_corners=True)
            x = fusion(torch.cat([x, reduction(low)], dim=1))
        return x


class Head(nn.Module):
    """One map from features: a 3x3 convolution or a depthwise separable 5x5 one, then a 1x1 convolution."""

    def __init__(self, width: int, hidden: int, channels: int, *, separable: bool) -> None:
        super().__init__()
        plain = nn.Sequential(nn.Conv2d(width, hidden, kernel_size=3, padding=1), nn.ReLU())
        self.hidden = _separable(width, hidden) if separable else plain
        self.output = nn.Conv2d(hidden, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) float32; in 16 bits a peak of the heatmap would be flat, and all its pixels centers."""
        x = self.hidden(x)
        with torch.autocast(x.device.type, enabled=False):
            return self.output(x.float())


def initialise(module: nn.Module, *, std: float) -> None:
    """Convolutions start from N(0, std) without bias (official code), batch norms as identity."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def set_momentum(network: nn.Module, momentum: float) -> None:
    """Give all batch norms of the network this momentum, those of the backbone, too (official code)."""
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.momentum = momentum


def _separable(width: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*convolution(width, width, side=FUSION_SIDE, groups=width), *convolution(width, channels))
