"""Feature extractors from timm: which stages are used, which are frozen, and what they start from."""

import logging
from pathlib import Path

import timm
import torch
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.hrnet import HighResolutionNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.regnet import RegNet
from timm.models.resnet import ResNet
from timm.models.vgg import VGG
from torch import Tensor, nn
from torch.nn import functional

from stages.core.networks.settings import BackboneSettings
from stages.core.networks.weights import read_weights

log = logging.getLogger(__name__)

# Families whose modules run one after the other in the order in which they are listed.
SEQUENTIAL = (ConvNeXt, EfficientNet, MobileNetV3, RegNet, ResNet, VGG)
BATCH_NORMS = nn.modules.batchnorm._BatchNorm
PREFIX = "backbone.network."  # of a backbone's weights in the file of a classifier


class Backbone(nn.Module):
    """Images (B, 3, H, W), normalised as ImageNet's, to features (B, channels, H / stride, W / stride).

    `forward(x) == rest(frozen_prefix(x))`; what `frozen_prefix` gives depends on no trained weight and may be stored.
    The modules of the network run one after the other; those behind the last stage are removed.

    Attributes:
        network: timm's network, so that its weights have timm's names.
        channels, stride: of the features; sizes are rounded as the family does (up, but for VGG and ConvNeXt).
        can_split: whether the frozen part can run by itself; if not, `frozen_prefix` gives its input back.
    """

    can_split = True

    def __init__(self, network: nn.Module, settings: BackboneSettings) -> None:
        super().__init__()
        info = network.feature_info
        if settings.stage >= len(info):
            raise ValueError(f"{settings.name} has stages 0 to {len(info) - 1}, asked for stage {settings.stage}")
        taps = [stage["module"] for stage in info[: settings.stage + 1]]
        units = _units(network, taps)
        split = units.index(taps[settings.frozen_stages - 1]) + 1 if settings.frozen_stages else 0
        self._register(network, settings, frozen=units[:split])
        self.trained = units[split:]
        self.channels, self.stride = info[settings.stage]["num_chs"], info[settings.stage]["reduction"]

    def _register(self, network: nn.Module, settings: BackboneSettings, *, frozen: list[str]) -> None:
        # Channels last in memory: nearly twice as fast on CPUs, faster in 16 bits on GPUs.
        self.network, self.frozen = network.to(memory_format=torch.channels_last), frozen
        self._freeze_norms = settings.norm == "frozen"
        for name in frozen:
            network.get_submodule(name).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the last stage."""
        return self.rest(self.frozen_prefix(x))

    def frozen_prefix(self, x: Tensor) -> Tensor:
        """The part that is not trained, without gradient."""
        with torch.no_grad():
            return self._run(x, self.frozen)

    def rest(self, features: Tensor) -> Tensor:
        """The part that is trained, from what `frozen_prefix` gives."""
        return self._run(features, self.trained)

    def _run(self, x: Tensor, units: list[str]) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        for unit in units:
            x = self.network.get_submodule(unit)(x)
        return x

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
        finest_only: whether `backbone_levels.keep_finest_branch` left the finest branch alone; `forward` is then gone.
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
        self.channels, self.stride = network.num_features, 32

    def frozen_prefix(self, x: Tensor) -> Tensor:
        """The images as they are."""
        return x

    def rest(self, features: Tensor) -> Tensor:
        """All of the network; frozen parts get no gradient because none of their parameters wants one."""
        height, width = features.shape[-2:]
        padded = functional.pad(features, (0, -width % 32, 0, -height % 32))
        return self.network.forward_features(padded.contiguous(memory_format=torch.channels_last))


def build_backbone(settings: BackboneSettings, *, classifier: Path | None = None, load: bool = True) -> Backbone:
    """The backbone of the settings, with its weights.

    Args:
        settings: see `BackboneSettings`.
        classifier: weights of a trained classifier, for `weights: classifier`.
        load: whether to load the weights; not needed where all weights of the whole network are loaded afterwards.

    Raises:
        ValueError: an unknown name, stage or stride; weights that do not fit.
        FileNotFoundError: no file of weights.
    """
    backbone = _wrap(_make_network(settings, pretrained=load and settings.weights == "timm"), settings)
    if not load:
        pass
    elif settings.weights == "none":
        log.warning("backbone %s starts from noise (weights: none)", settings.name)
    elif settings.weights == "timm":
        log.info("backbone %s: weights of timm", settings.name)
    elif settings.weights == "classifier" and classifier is None:
        raise ValueError("backbone weights are set to classifier, but this step has none; use timm, none or a file")
    else:
        path = starting_weights(settings, classifier=classifier)
        assert path is not None  # the other cases stand above
        _load_backbone(path, backbone, settings.name)
    return backbone.train()


def starting_weights(settings: BackboneSettings, *, classifier: Path | None = None) -> Path | None:
    """The file that the backbone's weights come from; None where timm or noise gives them."""
    if settings.weights in ("timm", "none"):
        return None
    return classifier if settings.weights == "classifier" else Path(settings.weights)


def _make_network(settings: BackboneSettings, *, pretrained: bool) -> nn.Module:
    if not timm.is_model(settings.name):
        like = timm.list_models(f"*{settings.name[:6]}*")[:5]
        raise ValueError(f"timm has no model {settings.name!r}; names like it: {like}")
    vgg = settings.name.startswith("vgg")
    stride = {} if vgg or settings.output_stride == 32 else {"output_stride": settings.output_stride}
    try:
        network = timm.create_model(settings.name, pretrained=pretrained, num_classes=0, **stride)
    except (AssertionError, TypeError) as error:
        raise ValueError(f"{settings.name} cannot have output_stride {settings.output_stride}; set 32") from error
    except OSError as error:
        raise ValueError(
            f"timm cannot fetch the weights of {settings.name} ({error}); connect to the network, or set the weights "
            "to a local safetensors file"
        ) from error
    if vgg:
        _reduce_vgg_stride(network, settings)
    return network


def _wrap(network: nn.Module, settings: BackboneSettings) -> Backbone:
    if isinstance(network, HighResolutionNet):
        return HighResolutionBackbone(network, settings)
    if isinstance(network, SEQUENTIAL):
        return Backbone(network, settings)
    families = sorted(family.__name__ for family in (*SEQUENTIAL, HighResolutionNet))
    raise ValueError(f"{settings.name} is a {type(network).__name__}; families that can be used: {families}")


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


def _reduce_vgg_stride(network: VGG, settings: BackboneSettings) -> None:
    """Keep VGG at the output stride: no pooling beyond it, later convolutions dilated (CIM, BESTIE: stride 8)."""
    stride, dilation = 1, 1
    for name, layer in network.features.named_children():
        if isinstance(layer, nn.MaxPool2d):
            if stride == settings.output_stride:
                dilation *= 2
                keep = settings.dilated_pool == "stride_1"
                pool = nn.MaxPool2d(3, stride=1, padding=1) if keep else nn.Identity()
                setattr(network.features, name, pool)
            else:
                stride *= 2
        elif isinstance(layer, nn.Conv2d):
            layer.dilation = layer.padding = (dilation, dilation)
    for stage in network.feature_info:
        stage["reduction"] = min(stage["reduction"], settings.output_stride)


def _load_backbone(path: Path, backbone: Backbone, name: str) -> None:
    found = read_weights(path)
    inner = {key.removeprefix(PREFIX): tensor for key, tensor in found.items() if key.startswith(PREFIX)}
    found = inner or found
    own = backbone.network.state_dict()
    # Older files have no counters of batch norms; with frozen or running statistics they are not used.
    needed = {key for key in own if not key.endswith("num_batches_tracked")}
    matching = needed & found.keys()
    if not matching:
        raise ValueError(
            f"{path} has none of the {len(needed)} tensors of {name}; its names are {sorted(found)[:3]}, "
            f"expected {sorted(needed)[:3]}: give weights of {name} with timm's names"
        )
    missing = sorted(needed - matching)
    if missing:
        raise ValueError(
            f"{path} lacks {len(missing)} of the {len(needed)} tensors of {name}, such as {missing[:3]}; "
            "give complete weights, or use fewer stages"
        )
    unlike = sorted(key for key in matching if found[key].shape != own[key].shape)
    if unlike:
        shapes = [f"{key} {tuple(found[key].shape)}, not {tuple(own[key].shape)}" for key in unlike[:3]]
        raise ValueError(f"{path} has other shapes than {name}: {shapes}; give weights of {name}")
    backbone.network.load_state_dict({key: found[key] for key in matching}, strict=False)
    left_over = found.keys() - own.keys()
    log.info("backbone %s: %d tensors from %s, %d others there not used", name, len(matching), path, len(left_over))
