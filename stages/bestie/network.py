"""BESTIE's network: semantic map, class-wise center heatmaps and offsets from one backbone (section 3.2).

Two kinds: three heads on the finest branch of HRNet (paper), and Panoptic-DeepLab (Cheng et al., CVPR 2020) on a
pyramid of features (appendix: ResNet-50). Sizes and initialisation as in the official code.
"""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from stages.bestie.decoders import Decoder, Head, initialise, set_momentum
from stages.bestie.settings import BestieNetworkSettings, BestieTrainingSettings
from stages.core.networks.backbones import build_backbone
from stages.core.networks.families import HighResolutionBackbone
from stages.core.networks.levels import keep_finest_branch, level_channels, levels

DIVISOR = 32  # of the sides of the input


class Outputs(NamedTuple):
    """Maps of a batch, all float32.

    Attributes:
        semantic: (B, C + 1, H, W) logits, background first.
        heatmap: (B, C, H, W), about 1 at the center of an instance of the class and 0 far from any; not limited.
        offsets: (B, 2, H, W), (dy, dx) from a pixel to the center of its instance, in pixels of the input.
    """

    semantic: Tensor
    heatmap: Tensor
    offsets: Tensor


class BestieNetwork(nn.Module):
    """Outputs from images.

    Attributes:
        backbone: gives the features of each stage.
        decoders: `semantic` and `instance`; none where the heads stand on the backbone.
        heads: `semantic`, `center` and `offset`.
    """

    def __init__(
        self, settings: BestieTrainingSettings, *, class_count: int, classifier: Path | None = None, load: bool = True
    ) -> None:
        """Build the network; without `load` for weights that are loaded afterwards.

        Raises ValueError as `build_backbone` does, and for stages that the backbone does not have.
        """
        super().__init__()
        self.kind, self.stages = settings.network.kind, settings.backbone.stages
        self.backbone = build_backbone(settings.backbone.plain, classifier=classifier, load=load)
        if self.kind == "high_resolution" and isinstance(self.backbone, HighResolutionBackbone):
            if self.stages != [1]:
                raise ValueError(f"backbone.stages is {self.stages}; of HRNet the finest branch is used, set [1]")
            keep_finest_branch(self.backbone)
        stage_channels = level_channels(self.backbone, self.stages)
        network, separable = settings.network, self.kind == "panoptic_deeplab"
        self.decoders = _decoders(stage_channels, network) if separable else nn.ModuleDict()
        semantic, instance = network.decoder_channels if separable else stage_channels * 2
        self.heads = nn.ModuleDict(
            {
                name: Head(width, hidden, channels, separable=separable)
                for name, width, hidden, channels in zip(
                    ("semantic", "center", "offset"), (semantic, instance, instance), network.head_channels,
                    (class_count + 1, class_count, 2), strict=True,
                )
            }
        )  # fmt: skip
        for module in (self.decoders, self.heads):
            initialise(module, std=network.initial_std)
        set_momentum(self, network.norm_momentum)

    def forward(self, images: Tensor, *, size: tuple[int, int] | None = None) -> Outputs:
        """Outputs of images (B, 3, H, W), normalised, at their size or at the given one.

        H and W are multiples of 32. Offsets count pixels of the input, whatever the size of the maps.
        """
        height, width = images.shape[-2:]
        if height % DIVISOR or width % DIVISOR:
            raise ValueError(
                f"images have {height}x{width} pixels, expected multiples of {DIVISOR}; enlarge or pad them"
            )
        features = list(levels(self.backbone, self.backbone.whole(images), self.stages).values())
        if self.decoders:
            semantic, instance = (decoder(features) for decoder in self.decoders.values())
            inputs = (semantic, instance, instance)
        else:
            inputs = (features[-1],) * 3
        size = size or (height, width)
        maps = [
            # contiguous: what follows picks single pixels, channel by channel
            functional.interpolate(
                head(x).contiguous(), size, mode="bilinear", align_corners=self.kind == "panoptic_deeplab"
            )
            for head, x in zip(self.heads.values(), inputs, strict=True)
        ]
        return Outputs(*maps)


def _decoders(channels: list[int], settings: BestieNetworkSettings) -> nn.ModuleDict:
    """The decoders of Panoptic-DeepLab on stages of these channels."""
    lows = (settings.semantic_low_channels, settings.instance_low_channels)
    decoders = nn.ModuleDict()
    for name, width, pooled, reduced in zip(
        ("semantic", "instance"), settings.decoder_channels, settings.aspp_channels, lows, strict=True
    ):
        decoders[name] = Decoder(
            channels, pooled=pooled, reduced=reduced, channels=width, rates=settings.aspp_rates,
            dropout=settings.aspp_dropout,
        )  # fmt: skip
    return decoders
