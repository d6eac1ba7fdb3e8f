"""How the official code of BESTIE names its tensors, for HRNet-W32 and W48 and for ResNet-50."""

from stages.bestie.settings import BestieTrainingSettings
from stages.core.networks.official import OfficialCode, renaming

HEADS = {"semantic": "seg", "center": "center", "offset": "offset"}
# Depthwise and 1x1 convolution, each with its batch norm: their places here, and in the official code's nested blocks.
SEPARABLE = {"0": "0.0", "1": "0.1", "3": "1", "4": "2"}
HIGH_RESOLUTION = {
    "backbone.network.": "",
    **{f"heads.{ours}.hidden.0.": f"{theirs}.0." for ours, theirs in HEADS.items()},
    **{f"heads.{ours}.output.": f"{theirs}.2." for ours, theirs in HEADS.items()},
}
MARKS = {
    "seg.0.weight": "BESTIE on HRNet",
    "decoder.semantic_decoder.aspp.convs.0.0.weight": "BESTIE on ResNet",
    "extra_conv1.weight": "PAM's classifier, which belongs to classifier.<name>.trained",
}


def official_code(settings: BestieTrainingSettings) -> OfficialCode:
    """The official code with the network of the settings."""
    network, backbone = settings.network, settings.backbone
    high = network.kind == "high_resolution"
    starts = HIGH_RESOLUTION if high else _panoptic_deeplab(len(network.aspp_rates), len(backbone.stages) - 1)
    return OfficialCode(
        title=f"BESTIE on {backbone.name}", source="github.com/clovaai/BESTIE", names=renaming(starts), marks=MARKS
    )


def _panoptic_deeplab(rates: int, low_stages: int) -> dict[str, str]:
    starts = {"backbone.network.": "backbone."}
    for name in ("semantic", "instance"):
        ours, theirs = f"decoders.{name}.", f"decoder.{name}_decoder."
        starts |= {f"{ours}pooling.branches.{i}.": f"{theirs}aspp.convs.{i}." for i in range(1 + rates)}
        starts[f"{ours}pooling.mean.0."] = f"{theirs}aspp.convs.{1 + rates}.aspp_pooling.1."
        starts[f"{ours}pooling.project."] = f"{theirs}aspp.project."
        starts[f"{ours}reductions."] = f"{theirs}project."
        for i in range(low_stages):
            starts |= _separable(f"{ours}fusions.{i}.", f"{theirs}fuse.{i}.0.")
    for name, theirs in HEADS.items():
        place = f"decoder.{'semantic' if name == 'semantic' else 'instance'}_head.classifier.{theirs}."
        starts |= _separable(f"heads.{name}.hidden.", f"{place}0.0.")
        starts[f"heads.{name}.output."] = f"{place}1."
    return starts


def _separable(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}{place}.": f"{theirs}{nested}." for place, nested in SEPARABLE.items()}
