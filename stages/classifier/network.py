"""Fully convolutional classifiers: a backbone, and a head that makes class response maps and scores of them."""

import math
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from stages.classifier.settings import (
    AttentionHeadSettings,
    AverageHeadSettings,
    ClassifierTrainingSettings,
    PeakHeadSettings,
)
from stages.core.networks.families import Backbone
from stages.ops.peaks import window_peaks


class Response(NamedTuple):
    """What a classifier says of a batch.

    Attributes:
        maps: (B, C, h, w) class responses, logits before aggregation.
        scores: (B, C) logits of the tags.
    """

    maps: Tensor
    scores: Tensor


class Classifier(nn.Module):
    """Normalised images (B, 3, H, W) to a `Response` at the backbone's stride, whose maps cover the images."""

    def __init__(self, backbone: Backbone, *, class_count: int, settings: ClassifierTrainingSettings) -> None:
        super().__init__()
        self.backbone = backbone
        self.kind = settings.head.kind
        self.head = HEADS[settings.head.kind](backbone.channels, class_count, settings.head)

    def forward(self, images: Tensor) -> Response:
        """Response maps and scores."""
        maps = self.head(self.backbone(self.backbone.whole(images))).float()
        return Response(maps, self.head.scores(maps))


class AverageHead(nn.Module):
    """CAM: a 1x1 convolution; scores are means of the maps (Zhou et al., CVPR 2016)."""

    def __init__(self, channels: int, class_count: int, settings: AverageHeadSettings | PeakHeadSettings) -> None:
        super().__init__()
        self.settings = settings
        self.classifier = nn.Conv2d(channels, class_count, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Maps (B, C, h, w) of features (B, channels, h, w)."""
        return self.classifier(features)

    def scores(self, maps: Tensor) -> Tensor:
        """Scores (B, C) of maps (B, C, h, w)."""
        return maps.mean((2, 3))


class PeakHead(AverageHead):
    """PRM: scores are means of the values at the peaks of the enlarged maps (equation 2, see `peak_scores`)."""

    settings: PeakHeadSettings

    def scores(self, maps: Tensor) -> Tensor:
        """Scores (B, C) of maps (B, C, h, w)."""
        return peak_scores(enlarge(maps, self.settings.upsampling), self.settings)


class AttentionHead(nn.Module):
    """PAM: extra 3x3 convolutions, peak attention in place of their ReLU, a 1x1 convolution, means as scores."""

    def __init__(self, channels: int, class_count: int, settings: AttentionHeadSettings) -> None:
        super().__init__()
        self.settings = settings
        inputs = [channels, *[settings.channels] * (settings.layers - 1)]
        self.layers = nn.ModuleList([nn.Conv2d(n, settings.channels, 3, padding=1) for n in inputs])
        self.classifier = nn.Conv2d(settings.channels, class_count, 1)
        for layer in [*self.layers, self.classifier]:
            # Official code: normal, of the variance that keeps a ReLU network's gradients at their size.
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (layer.kernel_size[0] ** 2 * layer.out_channels)))
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Maps (B, C, h, w) of features (B, channels, h, w)."""
        for number, layer in enumerate(self.layers, 1):
            features = layer(features)
            attends = self.settings.attention == "all" or number == len(self.layers)
            features = peak_attention(features, self.settings.alpha) if attends else functional.relu(features)
        return self.classifier(features)

    def scores(self, maps: Tensor) -> Tensor:
        """Scores (B, C) of maps (B, C, h, w)."""
        return maps.mean((2, 3))


HEADS = {"prm": PeakHead, "cam": AverageHead, "pam": AttentionHead}


def peak_attention(features: Tensor, alpha: float) -> Tensor:
    """PAM's peak attention (BESTIE section 3.3): ReLU, then 0 where a value is below a share of the channel's maximum.

        x = relu(features),    PAM(x)(p) = x(p) if x(p) >= alpha max_q x(q), else 0    per channel and image

    Args:
        features: (B, channels, h, w).
        alpha: share of the maximum; 0 is a plain ReLU.
    """
    positive = functional.relu(features)
    return positive * (positive >= alpha * positive.amax((2, 3), keepdim=True)).to(positive.dtype)


def peak_scores(maps: Tensor, settings: PeakHeadSettings) -> Tensor:
    """Mean (B, C) of the values at the peaks of (B, C, H, W) maps (PRM, equations 2 and 3); each map has at least one.

        s_c = 1 / K_c sum_k M_c(p_k)    score of class c, with the peaks p_1 ... p_K of its map M_c            (2)
        dL / dM_c(p_k) = 1 / K_c dL / ds_c    its gradient; 0 elsewhere                                         (3)

    Differs from the paper, as the official code does, where `divide_gradient` is false: the value is the mean, but the
    gradient is that of the sum, dL / ds_c, not divided by the number of peaks.
    """
    peaks = window_peaks(maps, window=settings.window)
    total = (maps * peaks).sum((2, 3))
    mean = total / peaks.sum((2, 3))
    return mean if settings.divide_gradient else mean.detach() + (total - total.detach())


def enlarge(maps: Tensor, factor: int) -> Tensor:
    """(B, C, h, w) to (B, C, factor h, factor w), bilinear with corners aligned, as PRM does."""
    if factor == 1:
        return maps
    return functional.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=True)


def tag_loss(scores: Tensor, tags: Tensor) -> Tensor:
    """Multi-label soft margin: binary cross-entropy, mean over classes and images; scores and tags (B, C)."""
    return functional.multilabel_soft_margin_loss(scores, tags.to(scores.dtype))
