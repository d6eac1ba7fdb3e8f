"""Backbones by family: how a network of timm is cut at a stage, which part of it is frozen, and how it runs."""

from collections.abc import Sequence

import torch
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn
from torch.nn import functional

from stages.core.networks.inputs import input_layer
from stages.core.networks.settings import BackboneSettings

BATCH_NORMS = nn.modules.batchnorm._BatchNorm


class Backbone(nn.Module):
    """Images (B, 3, H, W), normalised as ImageNet's, to features (B, channels, H / stride, W / stride).

    `forward(x) == rest(frozen_prefix(x))`; what `frozen_prefix` gives depends on no trained weight and may be stored.
    The modules of the network run one after the other; those behind the last stage are removed.

    Attributes:
        network: timm's network, so that its weights have timm's names.
        inputs: brings images to the mean and deviation that the network was trained with.
        channels, stride: of the features; sizes are rounded as the family does (up, but for VGG and ConvNeXt).
        divisor: sides that are multiples of it are covered by whole features; see `whole`.
        can_split: whether the frozen part can run by itself; if not, `frozen_prefix` gives the images.
    """

    can_split = True

    def __init__(self, network: nn.Module, settings: BackboneSettings) -> None:
        super().__init__()
        info = _stages(network, settings)
        taps = [stage["module"] for stage in info[: settings.stage + 1]]
        units = _units(network, taps)
        split = units.index(taps[settings.frozen_stages - 1]) + 1 if settings.frozen_stages else 0
        self._register(network, settings, frozen=units[:split])
        self.trained = units[split:]
        self.channels, self.stride = info[settings.stage]["num_chs"], info[settings.stage]["reduction"]
        self.divisor = self.stride if isinstance(network, ConvNeXt) else 1

    def _register(self, network: nn.Module, settings: BackboneSettings, *, frozen: list[str]) -> None:
        # Channels last in memory: nearly twice as fast on CPUs, faster in 16 bits on GPUs.
        self.network, self.frozen = network.to(memory_format=torch.channels_last), frozen
        of_timm = network.pretrained_cfg
        self.inputs = input_layer(settings.mean or of_timm["mean"], settings.std or of_timm["std"])
        self._freeze_norms = settings.norm == "frozen"
        for name in frozen:
            network.get_submodule(name).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the last stage."""
        return self.rest(self.frozen_prefix(x))

    def frozen_prefix(self, x: Tensor) -> Tensor:
        """The part that is not trained, without gradient."""
        with torch.no_grad():
            return self._run(self.inputs(x), self.frozen)

    def rest(self, features: Tensor) -> Tensor:
        """The part that is trained, from what `frozen_prefix` gives."""
        return self._run(features, self.trained)

    def _run(self, x: Tensor, units: list[str]) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        for unit in units:
            x = self.network.get_submodule(unit)(x)
        return x

    def whole(self, x: Tensor) -> Tensor:
        """Images enlarged so that whole features cover them, for maps that are to be laid over the image.

        Elsewhere the features start at the top left corner, each `stride` pixels on, and the last may reach beyond.
        """
        size = [-(-side // self.divisor) * self.divisor for side in x.shape[-2:]]
        if size == list(x.shape[-2:]):
            return x
        return functional.interpolate(x, size, mode="bilinear", align_corners=False)

    def train(self, mode: bool = True) -> "Backbone":
        """Frozen stages, and all batch norms where the settings say so, stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen:
            self.network.get_submodule(name).eval()
        if self._freeze_norms:
            for module in self.network.modules():
                if isinstance(module, BATCH_NORMS):
                    module.eval()
        return self


class HighResolutionBackbone(Backbone):
    """HRNet for classification: all branches fused to 2048 channels at stride 32, as in the official CIM.

    Stages: 0 stem and layer1, 1 stage2, 2 stage3, 3 stage4 and the fusion; only the last can give the features. The
    image is padded with zeros on the right and below to a multiple of 32.

    Attributes:
        finest_only: whether `levels.keep_finest_branch` left the finest branch alone; `forward` is then gone.
    """

    can_split = False
    finest_only = False
    STAGES = (
        ("conv1", "bn1", "conv2", "bn2", "layer1"),
        ("transition1", "stage2"),
        ("transition2", "stage3"),
        ("transition3", "stage4", "incre_modules", "downsamp_modules", "final_layer"),
    )

    def __init__(self, network: nn.Module, settings: BackboneSettings) -> None:
        nn.Module.__init__(self)
        if settings.stage != len(self.STAGES) - 1:
            raise ValueError(
                f"{settings.name} gives features of stage {len(self.STAGES) - 1} only, not {settings.stage}"
            )
        frozen = [name for stage in self.STAGES[: settings.frozen_stages] for name in stage]
        self._register(network, settings, frozen=frozen)
        self.channels, self.stride, self.divisor = network.num_features, 32, 32

    def frozen_prefix(self, x: Tensor) -> Tensor:
        """The images, normalised as the network wants them."""
        return self.inputs(x)

    def rest(self, features: Tensor) -> Tensor:
        """All of the network; frozen parts get no gradient because none of their parameters wants one."""
        padded = _padded(features, self.divisor)
        return self.network.forward_features(padded.contiguous(memory_format=torch.channels_last))


class TransformerBackbone(Backbone):
    """A vision transformer: a feature of each patch, whatever the block; class and register tokens give none.

    Stages are blocks, the stem with patch and position embeddings belongs to the first. Features pass the network's
    last layer norm, as DINOv2 and DINOv3 have them. The image is padded with zeros on the right and below to whole
    patches; position embeddings are resampled to its size.

    Attributes:
        can_split: only where all stages are frozen, which then is all of the network.
    """

    def __init__(self, network: nn.Module, settings: BackboneSettings) -> None:
        nn.Module.__init__(self)
        info = _stages(network, settings)
        self.stage, self.can_split = settings.stage, settings.frozen_stages == settings.stage + 1
        network.prune_intermediate_layers([self.stage])
        stem = [name for name, _ in network.named_children() if name not in ("blocks", "norm")]
        blocks = [f"blocks.{block}" for block in range(settings.frozen_stages)]
        self._register(network, settings, frozen=[*stem, *blocks] if blocks else [])
        self.channels, self.stride = info[self.stage]["num_chs"], info[self.stage]["reduction"]
        self.divisor = self.stride
        for name, parameter in network.named_parameters() if blocks else ():
            if self.can_split or not name.startswith(("blocks.", "norm.")):  # embeddings are no modules
                parameter.requires_grad_(False)

    def frozen_prefix(self, x: Tensor) -> Tensor:
        """The features where all is frozen, else the images, normalised as the network wants them."""
        if not self.can_split:
            return self.inputs(x)
        with torch.no_grad():
            return self._blocks(self.inputs(x), [self.stage])[0]

    def rest(self, features: Tensor) -> Tensor:
        """All of the network unless all of it is frozen."""
        return features if self.can_split else self._blocks(features, [self.stage])[0]

    def of_stages(self, x: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Features (B, channels, h, w) of several blocks, ascending."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.can_split):
            return self._blocks(self.inputs(x), list(stages))

    def _blocks(self, x: Tensor, stages: list[int]) -> list[Tensor]:
        return self.network.forward_intermediates(
            _padded(x, self.divisor), indices=stages, norm=True, intermediates_only=True
        )


def _stages(network: nn.Module, settings: BackboneSettings) -> list[dict]:
    info = list(network.feature_info)
    if settings.stage >= len(info):
        raise ValueError(f"{settings.name} has stages 0 to {len(info) - 1}, asked for stage {settings.stage}")
    return info


def _padded(x: Tensor, divisor: int) -> Tensor:
    """Zeros on the right and below, up to sides that `divisor` divides."""
    height, width = x.shape[-2:]
    return functional.pad(x, (0, -width % divisor, 0, -height % divisor))


def _units(network: nn.Module, taps: list[str]) -> list[str]:
    """Paths of the modules up to the last tap, in running order; removes those behind it.

    A module with a tap inside is entered, any other is one unit.
    """
    units: list[str] = []
    for name, child in list(network.named_children()):
        if units and units[-1] == taps[-1]:
            delattr(network, name)
        elif any(tap.startswith(f"{name}.") for tap in taps):
            inner = [tap.removeprefix(f"{name}.") for tap in taps if tap.startswith(f"{name}.")]
            units += [f"{name}.{unit}" for unit in _units(child, inner)]
        else:
            units.append(name)
    return units
