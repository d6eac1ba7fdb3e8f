"""Segmentation network: atrous spatial pyramid pooling on a backbone (DeepLab-v3, and v3+ with a finer stage).

Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation" (2017) and "Encoder-Decoder with Atrous
Separable Convolution for Semantic Image Segmentation" (ECCV 2018).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.core.networks.backbones import Backbone, HighResolutionBackbone
from stages.core.networks.levels import level_channels, levels
from stages.semantics.settings import PyramidPoolingSettings


class SegmentationNetwork(nn.Module):
    """Normalised images (B, 3, H, W) to logits (B, C + 1, H, W) with background first.

    `stage` is the backbone's last stage. Sides that its stride does not divide are padded with zeros on the right and
    below, and cut off again.
    """

    def __init__(self, backbone: Backbone, *, stage: int, class_count: int, settings: PyramidPoolingSettings) -> None:
        super().__init__()
        if settings.low_stage is not None and isinstance(backbone, HighResolutionBackbone):
            raise ValueError("head.low_stage is set, but HRNet gives one level of features here; set it to null")
        self.backbone, self.low = backbone, None
        self.pooling = PyramidPooling(backbone.channels, settings)
        width = settings.channels
        if settings.low_stage is not None:
            self.stages = [settings.low_stage, stage]
            self.low = _layer(level_channels(backbone, self.stages)[0], settings.low_channels, 1)
            width += settings.low_channels
        self.last = _layer(width, settings.channels, 3)
        self.dropout = nn.Dropout2d(settings.dropout)
        self.classifier = nn.Conv2d(settings.channels, class_count + 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits at the size of the images, float32."""
        height, width = images.shape[-2:]
        stride = self.backbone.stride
        padded = functional.pad(images, (0, -width % stride, 0, -height % stride))
        logits = self.classifier(self.dropout(self.last(self._features(padded)))).float()
        size = padded.shape[-2:]
        return functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)[..., :height, :width]

    def _features(self, images: Tensor) -> Tensor:
        if self.low is None:
            return self.pooling(self.backbone(images))
        fine, coarse = levels(self.backbone, images, self.stages).values()
        pooled = self.pooling(coarse)
        grown = functional.interpolate(pooled, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat([grown, self.low(fine)], 1)


class PyramidPooling(nn.Module):
    """Features (B, channels, h, w) at several reaches: 1x1, 3x3 of each rate, and the mean of the image.

    Differs from DeepLab-v3: the branch of the mean has no batch norm (one value per image and channel), as in
    Panoptic-DeepLab.
    """

    def __init__(self, inputs: int, settings: PyramidPoolingSettings) -> None:
        super().__init__()
        channels = settings.channels
        self.branches = nn.ModuleList([_layer(inputs, channels, 1)])
        self.branches += [_layer(inputs, channels, 3, dilation=rate) for rate in settings.rates]
        self.mean = nn.Sequential(nn.Conv2d(inputs, channels, 1), nn.ReLU()) if settings.image_pooling else None
        self.joined = _layer(channels * (len(self.branches) + settings.image_pooling), channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, settings.channels, h, w)."""
        found = [branch(features) for branch in self.branches]
        if self.mean is not None:
            found.append(self.mean(features.mean((2, 3), keepdim=True)).expand_as(found[0]))
        return self.joined(torch.cat(found, 1))


def _layer(inputs: int, outputs: int, size: int, *, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2 * dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
