"""How the official code of CIM names its tensors, for ResNet-50, VGG-16 and HRNet-W48."""

from collections.abc import Sequence

from stages.cim.settings import CimTrainingSettings
from stages.core.networks.official import OfficialCode, renaming
from stages.core.networks.official_backbones import vgg_layers

STARTS = {
    "backbone.network.conv1.": "Conv_Body.res1.0.",
    "backbone.network.bn1.": "Conv_Body.res1.1.",
    **{f"backbone.network.layer{stage}.": f"Conv_Body.res{stage + 1}." for stage in (1, 2, 3)},
    "mask_fuse.fuse.": "Box_Head.mask_branch.0.",
    "mask_fuse.layers.0.": "Box_Head.seg_fc.0.",
    "mask_fuse.layers.1.": "Box_Head.seg_fc.2.",
}
HRNET_STARTS = {"backbone.network.": "Conv_Body.", **{ours: name for ours, name in STARTS.items() if "mask" in ours}}
VGG_STARTS = {
    **{
        f"backbone.network.features.{place}.": f"Conv_Body.{name}." for place, name in vgg_layers("conv{block}.{place}")
    },
    **HRNET_STARTS,
}
FAMILIES = {"vgg": VGG_STARTS, "hrnet": HRNET_STARTS}  # by the start of timm's name; others: ResNet
MARKS = {
    "Conv_Body.res1.0.weight": "CIM on ResNet-50",
    "Conv_Body.conv1.0.weight": "CIM on VGG-16",
    "Conv_Body.transition1.0.0.weight": "CIM on HRNet-W48",
    "0.features.0.weight": "PRM's classifier, which belongs to classifier.<name>.trained",
}


def official_code(settings: CimTrainingSettings) -> OfficialCode:
    """The official code with the network of the settings."""
    backbone, branches = settings.backbone.name, settings.network.branches
    starts = next((kind for start, kind in FAMILIES.items() if backbone.startswith(start)), STARTS)
    rename = renaming(starts)

    def names(name: str) -> Sequence[str]:
        return _heads(name.removeprefix("heads."), branches) if name.startswith("heads.") else rename(name)

    return OfficialCode(
        title=f"CIM on {backbone}",
        source="github.com/ZechengLi19/CIM",
        names=names,
        unused={
            r"cls_iou_model\.outer_detection\.(weight|bias)": "a layer that the official code builds and does not call",
            r"Conv_Body\.classifier\.(weight|bias)": "the classifier of ImageNet's classes, which features do not pass",
        },
        marks=MARKS,
    )


def _heads(kind: str, branches: int) -> list[str]:
    """The official code's layers that are one layer here, in the order of its rows; `kind`: weight or bias."""
    refined = [f"{head}.{k}" for head in ("ref_cls", "ref_iou") for k in range(branches)]
    return [f"cls_iou_model.{head}.{kind}" for head in ("classifier", "inner_detection", *refined)]
