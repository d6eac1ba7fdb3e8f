"""CIM's network: MaskFuse, the anti-noise branch and the refinement branches (sections 3.3, 3.4 and 3.6)."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stages.cim.settings import CimNetworkSettings
from stages.core.networks.families import Backbone
from stages.core.networks.roi_align import roi_align


class Scores(NamedTuple):
    """Probabilities of N proposals, all (N, C + 1) float32, background in column 0.

    Attributes:
        classifier: softmax over classes, anti-noise branch.
        detector: softmax over proposals, anti-noise branch.
        refined: for each refinement branch its class probabilities (softmax) and integrities (sigmoid).
    """

    classifier: Tensor
    detector: Tensor
    refined: list[tuple[Tensor, Tensor]]


class MaskFuse(nn.Module):
    """A feature vector per proposal from its box and its mask (section 3.3).

        x = FC(... FC(relu(conv3x3([B, R * B]))))

    B (D, s, s) are the box's features by RoIAlign, R (s, s) is the mask cut to the box, * multiplies each channel. The
    convolution halves the 2 D channels; each of the fully connected layers FC ends with ReLU.
    """

    def __init__(self, channels: int, *, stride: int, settings: CimNetworkSettings) -> None:
        super().__init__()
        self.size, self.scale, self.sampling_ratio = settings.crop_size, 1 / stride, settings.sampling_ratio
        self.fuse = nn.Conv2d(2 * channels, channels, kernel_size=3, padding=1)
        widths = [channels * self.size**2, *settings.fc_widths]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.width = widths[-1]

    def forward(self, features: Tensor, boxes: Tensor, crops: Tensor) -> Tensor:
        """Vectors (N, width) from features (1, D, h, w), boxes (N, 4) in pixels of the input, crops (N, s, s) bool."""
        box = roi_align(features, boxes, size=self.size, scale=self.scale, sampling_ratio=self.sampling_ratio)
        x = self.fuse(torch.cat([box, box * crops[:, None]], dim=1)).relu().flatten(1)
        for layer in self.layers:
            x = layer(x).relu()
        return x


class CimNetwork(nn.Module):
    """Scores of the proposals of one image. Layers start as PyTorch's defaults, the backbone as it is given.

    Differs from the paper: with `reduced_channels` a 1x1 convolution with ReLU narrows the features first.
    """

    def __init__(self, backbone: Backbone, *, class_count: int, settings: CimNetworkSettings) -> None:
        super().__init__()
        self.backbone, self.branches = backbone, settings.branches
        channels = settings.reduced_channels or backbone.channels
        reduction = nn.Sequential(nn.Conv2d(backbone.channels, channels, kernel_size=1), nn.ReLU())
        self.reduction = nn.Identity() if settings.reduced_channels is None else reduction
        self.mask_fuse = MaskFuse(channels, stride=backbone.stride, settings=settings)
        # All heads are one layer: PyTorch's initialisation depends on the number of inputs alone.
        head_count = 2 + (2 if settings.integrity_heads else 1) * settings.branches
        self.heads = nn.Linear(self.mask_fuse.width, head_count * (class_count + 1))
        self.columns = class_count + 1

    def forward(self, inputs: Tensor, boxes: Tensor, crops: Tensor, *, from_prefix: bool = False) -> Scores:
        """Scores of proposals from an image (1, 3, H, W), or from what the backbone's frozen prefix made of it."""
        return self.score(self.features(inputs, from_prefix=from_prefix), boxes, crops)

    def features(self, inputs: Tensor, *, from_prefix: bool = False) -> Tensor:
        """Features (1, D, h, w) that regions are cut from."""
        return self.reduction(self.backbone.rest(inputs) if from_prefix else self.backbone(inputs))

    def score(self, features: Tensor, boxes: Tensor, crops: Tensor) -> Scores:
        """Scores of proposals, boxes (N, 4) in pixels of the input and crops (N, s, s) bool, from `features`."""
        logits = self.heads(self.mask_fuse(features, boxes, crops)).float().unflatten(1, (-1, self.columns))
        first, last = 2, 2 + self.branches
        classes = logits[:, first:last].softmax(2).unbind(1)
        integrity = logits[:, last:].sigmoid().unbind(1) or tuple(torch.ones_like(values) for values in classes)
        return Scores(
            classifier=logits[:, 0].softmax(1),
            detector=logits[:, 1].softmax(0),
            refined=list(zip(classes, integrity, strict=True)),
        )
