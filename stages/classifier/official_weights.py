"""How the official codes of PRM (ResNet) and BESTIE (PAM on VGG-16) name the tensors of their classifiers."""

from stages.classifier.settings import ClassifierTrainingSettings
from stages.core.networks.official import OfficialCode, renaming
from stages.core.networks.official_backbones import vgg_layers

PRM_STARTS = {
    "backbone.network.conv1.": "0.features.0.",
    "backbone.network.bn1.": "0.features.1.",
    **{f"backbone.network.layer{stage}.": f"0.features.{stage + 3}." for stage in (1, 2, 3, 4)},
    "head.classifier.": "0.classifier.0.",
}
PAM_TWINS = {
    f"{name}.": f"features.{place}." for place, name in vgg_layers("layer{block}_conv{place}", step=1, first=1)
}
MARKS = {
    "0.features.0.weight": "PRM's classifier",
    "extra_conv1.weight": "PAM's classifier on VGG-16",
    "Conv_Body.res1.0.weight": "a network of CIM, which belongs to runs.<name>.trained",
}


def official_code(settings: ClassifierTrainingSettings) -> OfficialCode:
    """The official code with the network of the settings. Raises ValueError for a head that none has."""
    kind, backbone = settings.head.kind, settings.backbone.name
    if kind == "prm":
        source = "github.com/ZhouYanzhao/PRM, and github.com/ZechengLi19/CIM, which publishes such classifiers"
        return OfficialCode(f"PRM's classifier on {backbone}", source, renaming(PRM_STARTS), marks=MARKS)
    if kind == "pam":
        extra = {f"head.layers.{i}.": f"extra_conv{i + 1}." for i in range(settings.head.layers)}
        starts = {
            "backbone.network.": "", **extra, "head.classifier.": f"extra_conv{settings.head.layers + 1}.",
        }  # fmt: skip
        return OfficialCode(
            f"PAM's classifier on {backbone}",
            "github.com/clovaai/BESTIE",
            renaming(starts),
            twins=PAM_TWINS,
            marks=MARKS,
        )
    raise ValueError(f"no official code has a classifier with a head of kind {kind!r}; there are prm and pam")
