"""Features of several stages of a backbone, for networks that stand on a pyramid."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.core.networks.families import Backbone, HighResolutionBackbone, TransformerBackbone


def level_channels(backbone: Backbone, stages: Sequence[int]) -> list[int]:
    """Channels of the features of each of the stages (timm's indices). Raises ValueError where there is none such."""
    if isinstance(backbone, HighResolutionBackbone) and backbone.finest_only:
        return [backbone.network.stage4[-1].get_num_in_chs()[0] for _ in stages]
    info = backbone.network.feature_info
    first = 1 if isinstance(backbone, HighResolutionBackbone) else 0
    if min(stages) < first or max(stages) >= len(info):
        raise ValueError(f"stages are {list(stages)}, but this backbone has stages {first} to {len(info) - 1}")
    return [info[stage]["num_chs"] for stage in stages]


def levels(backbone: Backbone, x: Tensor, stages: Sequence[int]) -> dict[str, Tensor]:
    """Features (B, channels, h, w) of each of the stages by their index as text, in the order of depth.

    Equal to what timm's `features_only` gives. Of HRNet: its four branches, each widened as for classification, or
    after `keep_finest_branch` the first one as it is. Of a transformer: its blocks', all of one size.

    Args:
        backbone: built up to the last of the stages.
        x: (B, 3, H, W), normalised; of HRNet with sides that 32 divides.
        stages: timm's indices, ascending.
    """
    if isinstance(backbone, HighResolutionBackbone):
        return _branches(backbone, x, stages)
    if isinstance(backbone, TransformerBackbone):
        return dict(zip(map(str, stages), backbone.of_stages(x, stages), strict=True))
    wanted = {backbone.network.feature_info[stage]["module"]: str(stage) for stage in stages}
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        x = _collect(backbone, backbone.inputs(x), backbone.frozen, wanted, found)
    _collect(backbone, x, backbone.trained, wanted, found)
    return found


def keep_finest_branch(backbone: HighResolutionBackbone) -> None:
    """Of HRNet keep stage 1 alone, at a quarter of the image's size, as the last fusion gives it.

    That is HRNet for pose estimation (Sun et al., CVPR 2019), which BESTIE stands on. What serves the other branches'
    outputs and classification is removed, so that every weight that is left is trained.
    """
    network, last = backbone.network, backbone.network.stage4[-1]
    removed = ("incre_modules", "downsamp_modules", "final_layer")
    for name in removed:
        delattr(network, name)
    last.multi_scale_output, last.fuse_layers = False, last.fuse_layers[:1]
    backbone.frozen = [name for name in backbone.frozen if name not in removed]
    backbone.finest_only = True


def _collect(
    backbone: Backbone, x: Tensor, units: list[str], wanted: dict[str, str], found: dict[str, Tensor]
) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    for unit in units:
        x = backbone.network.get_submodule(unit)(x)
        if unit in wanted:
            found[wanted[unit]] = x
    return x


def _branches(backbone: HighResolutionBackbone, x: Tensor, stages: Sequence[int]) -> dict[str, Tensor]:
    network = backbone.network
    x = backbone.inputs(x).contiguous(memory_format=torch.channels_last)
    for name in ("conv1", "bn1", "act1", "conv2", "bn2", "act2"):
        x = network.get_submodule(name)(x)
    branches = network.stages(x)
    if backbone.finest_only:
        return {str(stage): branches[0] for stage in stages}
    return {str(stage): network.incre_modules[stage - 1](branches[stage - 1]) for stage in stages}
