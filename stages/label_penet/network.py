"""The modules of Label-PEnet (section 4.1): classification, detection, and two with masks, of the same parts."""

import copy
import itertools
import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stages.core.networks.aspp import AtrousPyramidPooling
from stages.core.networks.backbones import build_backbone
from stages.core.networks.families import Backbone, TransformerBackbone
from stages.core.networks.roi_align import roi_align
from stages.label_penet.boxes import BoxHeads, ProposalNetwork
from stages.label_penet.settings import PenetLossSettings, PenetNetworkSettings

DIVISOR = 32  # of the sides of a padded image


class Image(NamedTuple):
    """One image as the network sees it.

    Attributes:
        inputs: (1, 3, h, w) float32, normalised, zeros on the right and below; or what the frozen backbone makes of it.
        size: height and width without the zeros, pixels.
        padded: height and width with them.
    """

    inputs: Tensor
    size: tuple[int, int]
    padded: tuple[int, int]


class Tails:
    """Makes each module's own features, behind the shared ones."""

    def __init__(
        self, settings: PenetNetworkSettings, shared: Backbone, *, classifier: Path | None, load: bool
    ) -> None:
        self.settings, self.stride = settings, shared.stride
        self.shared_channels, self.channels = shared.channels, settings.tail_channels
        self.stage: nn.Sequential | None = None
        if DIVISOR % shared.stride:
            raise ValueError(
                f"{settings.backbone.name} has stride {shared.stride}, but Label-PEnet pads images to multiples of"
                f" {DIVISOR}; set a backbone whose stride divides it"
            )
        if settings.tail == "stage" and isinstance(shared, TransformerBackbone):
            raise ValueError(f"the tail of a transformer such as {settings.backbone.name} is no stage; set convolution")
        if settings.tail == "stage":
            deeper = settings.backbone.model_copy(update={"stage": settings.backbone.stage + 1, "frozen_stages": 0})
            whole = build_backbone(deeper, classifier=classifier, load=load)
            if whole.stride != shared.stride:
                raise ValueError(
                    f"stage {deeper.stage} of {deeper.name} has stride {whole.stride}, the one before {shared.stride};"
                    f" set backbone.output_stride to {shared.stride}, so that it is dilated"
                )
            units = whole.trained[len(shared.frozen) + len(shared.trained) :]
            self.stage = nn.Sequential(*(whole.network.get_submodule(unit) for unit in units))
            self.channels = whole.channels

    def make(self) -> nn.Module:
        """Features (1, channels, h, w) from the shared ones, with weights of their own."""
        if self.stage is not None:
            return copy.deepcopy(self.stage)
        layer = nn.Conv2d(self.shared_channels, self.channels, 3, padding=2, dilation=2)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        return nn.Sequential(layer, nn.ReLU())


class FullyConnected(nn.Module):
    """Vectors (R, width) of regions' features (R, D, s, s): linear layers, each with ReLU and dropout (fc6, fc7)."""

    def __init__(self, channels: int, settings: PenetNetworkSettings) -> None:
        super().__init__()
        widths = [channels * settings.bins**2, *settings.fc_widths]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(widths))
        self.dropout = nn.Dropout(settings.dropout)
        self.width = widths[-1]

    def forward(self, features: Tensor) -> Tensor:
        """Vectors of features after RoIAlign."""
        x = features.flatten(1)
        for layer in self.layers:
            x = self.dropout(layer(x).relu())
        return x


class ClassificationScores(NamedTuple):
    """What the first module says of R proposals.

    Attributes:
        logits: (R, C) x^c.
        shares: (R, C) w, softmax over the proposals of the weight branch (equation 1).
        regions: (R, D, s, s) features after RoIAlign.
        single: (R, 1 + C) logits of the single-label classifier of the backward validation, background first.
    """

    logits: Tensor
    shares: Tensor
    regions: Tensor
    single: Tensor


class ClassificationModule(nn.Module):
    """Multi-label classification: a classification and a weight branch over proposals (section 3.2)."""

    def __init__(
        self, settings: PenetNetworkSettings, losses: PenetLossSettings, tails: Tails, *, class_count: int
    ) -> None:
        super().__init__()
        self.tail, self.bins, self.scale = tails.make(), settings.bins, 1 / tails.stride
        self.compares_classes = losses.mil != "binary"
        self.fc = FullyConnected(tails.channels, settings)
        self.classes, self.weights = (nn.Linear(self.fc.width, class_count) for _ in range(2))
        self.single = nn.Linear(self.fc.width, 1 + class_count)
        for layer in (self.classes, self.weights, self.single):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, shared: Tensor, boxes: Tensor) -> ClassificationScores:
        """Scores of proposals (R, 4), boxes in pixels of the input, from the shared features (1, D, h, w)."""
        regions = roi_align(self.tail(shared), boxes, size=self.bins, scale=self.scale, sampling_ratio=0)
        vectors = self.fc(regions)
        logits, weights, single = (layer(vectors).float() for layer in (self.classes, self.weights, self.single))
        return ClassificationScores(logits, weights.softmax(0), regions, single)

    def probabilities(self, scores: ClassificationScores) -> Tensor:
        """Class probabilities q (R, C) of proposals: softmax over the classes; with `mil: binary` a sigmoid of each."""
        return scores.logits.softmax(1) if self.compares_classes else scores.logits.sigmoid()

    def own_classes(self, probabilities: Tensor) -> Tensor:
        """The most probable class (R,) of each proposal; -1 where classes stand by themselves and all are below 1/2."""
        best = probabilities.max(1)
        return best.indices if self.compares_classes else best.indices.where(best.values >= 0.5, -1)

    @property
    def chain(self) -> list[nn.Linear]:
        """The linear layers from a region's features to its class scores."""
        return [*self.fc.layers, self.classes]


class DetectionModule(nn.Module):
    """Object detection: Faster R-CNN whose losses are weighted (equations 3 and 4)."""

    masks = False

    def __init__(
        self, settings: PenetNetworkSettings, losses: PenetLossSettings, tails: Tails, *, class_count: int
    ) -> None:
        super().__init__()
        self.tail, self.stride, self.bins = tails.make(), tails.stride, settings.bins
        # Section 4.1: with a mask part, regions of the box part are cut from pool4, else from relu5_3.
        self.pool4 = nn.MaxPool2d(3, stride=1, padding=1) if self.masks and settings.box_features == "pool4" else None
        channels = tails.channels if self.pool4 is None else tails.shared_channels
        self.rpn = ProposalNetwork(channels, settings, losses)
        self.heads = BoxHeads(FullyConnected(channels, settings), settings, losses, class_count=class_count)
        self.mask = MaskHead(tails.channels, settings, class_count=class_count) if self.masks else None

    def features(self, shared: Tensor) -> tuple[Tensor, Tensor]:
        """Features that boxes and that masks are cut from."""
        deep = self.tail(shared)
        return (deep if self.pool4 is None else self.pool4(shared)), deep


class SegmentationModule(DetectionModule):
    """Instance refinement and instance segmentation: the same with a mask head."""

    masks = True


class MaskHead(nn.Module):
    """Mask logits (R, C, 2 s, 2 s) of regions' features (R, D, s, s): pyramid pooling, enlarged, a 1x1 convolution."""

    def __init__(self, channels: int, settings: PenetNetworkSettings, *, class_count: int) -> None:
        super().__init__()
        self.bins, self.class_count = settings.mask_bins, class_count
        width = settings.aspp_channels
        self.pooling = AtrousPyramidPooling(channels, width, rates=settings.aspp_rates)
        self.enlarge = nn.Sequential(nn.ConvTranspose2d(width, width, 2, stride=2), nn.ReLU())
        self.output = nn.Conv2d(width, class_count, 1)

    def forward(self, regions: Tensor) -> Tensor:
        """Logits; without regions, too, which batch norms cannot take."""
        if not len(regions):
            return regions.new_zeros((0, self.class_count, 2 * self.bins, 2 * self.bins))
        return self.output(self.enlarge(self.pooling(regions))).float()


KINDS: dict[str, type[nn.Module]] = {
    "classification": ClassificationModule,
    "detection": DetectionModule,
    "refinement": SegmentationModule,
    "segmentation": SegmentationModule,
}


def padded_size(height: int, width: int) -> tuple[int, int]:
    """Height and width as multiples of 32."""
    return DIVISOR * math.ceil(height / DIVISOR), DIVISOR * math.ceil(width / DIVISOR)


def padded(image: Tensor) -> Image:
    """A normalised image (3, h, w) with zeros on the right and below."""
    height, width = image.shape[-2:]
    size = padded_size(height, width)
    inputs = torch.nn.functional.pad(image, (0, size[1] - width, 0, size[0] - height))
    return Image(inputs[None], (height, width), size)
