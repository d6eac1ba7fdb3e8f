"""Segmentation network: atrous spatial pyramid pooling on a backbone (DeepLab-v3, and v3+ with a finer stage).

Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation" (2017) and "Encoder-Decoder with Atrous
Separable Convolution for Semantic Image Segmentation" (ECCV 2018).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.core.networks.aspp import AtrousPyramidPooling, convolution
from stages.core.networks.families import Backbone, HighResolutionBackbone
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
        self.pooling = AtrousPyramidPooling(
            backbone.channels, settings.channels, rates=settings.rates, image_pooling=settings.image_pooling,
            mean_bias=True,
        )  # fmt: skip
        width = settings.channels
        if settings.low_stage is not None:
            self.stages = [settings.low_stage, stage]
            self.low = convolution(level_channels(backbone, self.stages)[0], settings.low_channels)
            width += settings.low_channels
        self.last = convolution(width, settings.channels, side=3)
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
