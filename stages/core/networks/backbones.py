"""Feature extractors from timm: which stages are used, which are frozen, and what they start from."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.eva import Eva
from timm.models.hrnet import HighResolutionNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.regnet import RegNet
from timm.models.resnet import ResNet
from timm.models.vgg import VGG
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.core.networks.families import Backbone, HighResolutionBackbone, TransformerBackbone
from stages.core.networks.inputs import check_inputs
from stages.core.networks.packages import PACKAGE, package_file, read_package
from stages.core.networks.settings import BackboneSettings
from stages.core.networks.weights import read_weights

log = logging.getLogger(__name__)

# Families whose modules run one after the other in the order in which they are listed.
SEQUENTIAL = (ConvNeXt, EfficientNet, MobileNetV3, RegNet, ResNet, VGG)
TRANSFORMERS = (VisionTransformer, Eva)
TRANSFORMER_MODULES = ("deit", "eva", "vision_transformer")  # of timm; their networks take images of any size
PREFIX = "backbone.network."  # of a backbone's weights in the file of a classifier


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
        packed = settings.weights.startswith(PACKAGE)
        found = read_package(settings.weights, network=settings.name) if packed else read_weights(path)
        _load_backbone(found, backbone, settings.name, path)
    if load:
        _log_inputs(backbone, settings)
    return backbone.train()


def starting_weights(settings: BackboneSettings, *, classifier: Path | None = None) -> Path | None:
    """The file that the backbone's weights come from; None where timm or noise gives them."""
    if settings.weights in ("timm", "none"):
        return None
    if settings.weights.startswith(PACKAGE):
        return package_file(settings.weights)
    return classifier if settings.weights == "classifier" else Path(settings.weights)


def _make_network(settings: BackboneSettings, *, pretrained: bool) -> nn.Module:
    if not timm.is_model(settings.name):
        like = timm.list_models(f"*{settings.name[:6]}*")[:5]
        raise ValueError(f"timm has no model {settings.name!r}; names like it: {like}")
    vgg = settings.name.startswith("vgg")
    transformer = timm.models.is_model_in_modules(settings.name, TRANSFORMER_MODULES)
    options: dict[str, Any] = {"dynamic_img_size": True} if transformer else {}
    if not (vgg or transformer or settings.output_stride == 32):
        options["output_stride"] = settings.output_stride
    try:
        network = timm.create_model(settings.name, pretrained=pretrained, num_classes=0, **options)
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


def _log_inputs(backbone: Backbone, settings: BackboneSettings) -> None:
    of_timm = backbone.network.pretrained_cfg
    mean, std = settings.mean or of_timm["mean"], settings.std or of_timm["std"]
    how = of_timm["interpolation"]
    log.info("images for %s have mean %s and deviation %s; timm resizes its by %s", settings.name, mean, std, how)


def _wrap(network: nn.Module, settings: BackboneSettings) -> Backbone:
    if isinstance(network, HighResolutionNet):
        return HighResolutionBackbone(network, settings)
    if isinstance(network, TRANSFORMERS) and network.dynamic_img_size:
        _check_patches(network, settings)
        return TransformerBackbone(network, settings)
    if isinstance(network, SEQUENTIAL):
        return Backbone(network, settings)
    families = sorted(family.__name__ for family in (*SEQUENTIAL, *TRANSFORMERS, HighResolutionNet))
    limit = " of a fixed image size" if isinstance(network, TRANSFORMERS) else ""
    raise ValueError(f"{settings.name} is a {type(network).__name__}{limit}; families that can be used: {families}")


def _check_patches(network: nn.Module, settings: BackboneSettings) -> None:
    patch = network.feature_info[0]["reduction"]
    if settings.output_stride not in (patch, 32):
        raise ValueError(
            f"{settings.name} has a feature for each patch of {patch}x{patch} pixels, which no output_stride changes, "
            f"but output_stride is {settings.output_stride}; set 32"
        )


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


def _load_backbone(found: Mapping[str, Tensor], backbone: Backbone, name: str, path: Path) -> None:
    inner = {key.removeprefix(PREFIX): tensor for key, tensor in found.items() if key.startswith(PREFIX)}
    if inner:
        check_inputs(found, backbone.inputs, path)
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
