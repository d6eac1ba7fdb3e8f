"""How a gallery shows each kind of artifact: the function that makes its layers, and how to read them.

A kind that is not here has none. `cues` of several classifiers stand side by side.
"""

from collections.abc import Callable
from typing import Any

from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.inspection.gallery.layers import (
    center_layers,
    cluster_layers,
    cue_layers,
    module_layers,
    prediction_layers,
    proposal_layers,
    pseudo_instance_layers,
    refined_layers,
    semantics_layers,
)
from stages.inspection.gallery.scene import Layer, Scene
from stages.inspection.settings import GallerySettings

# From a scene, the image's record and the header of its artifact.
LAYERS: dict[str, Callable[[Scene, Any, dict[str, Any]], list[Layer]]] = {
    Proposals.KIND: proposal_layers,
    SemanticMaps.KIND: semantics_layers,
    Cues.KIND: cue_layers,
    ClusterLabels.KIND: cluster_layers,
    PseudoInstances.KIND: pseudo_instance_layers,
    RefinedLabels.KIND: refined_layers,
    CenterMaps.KIND: center_layers,
    ModuleLabels.KIND: module_layers,
    Instances.KIND: prediction_layers,
}

# What else is to be said of kinds of which a page shows several artifacts.
BESIDE = {
    Cues.KIND: " Side by side: the classifier that the semantic map comes from, and that of the run's own cues.",
    Instances.KIND: " With a name: those of a part of the run, or of a network trained on the run's own masks.",
}


def legend(kinds: list[str], settings: GallerySettings) -> list[tuple[str, str]]:
    """Titles of panels and how to read them, for the kinds that a page shows, in their order."""
    texts = _texts(settings)
    lines = [
        (title, text + (BESIDE.get(kind, "") if kinds.count(kind) > 1 else ""))
        for kind in dict.fromkeys(kinds)
        for title, text in texts[kind]
    ]
    proposed = ", and with any proposal" if Proposals.KIND in kinds else ""
    text = f"Annotated instances, where there are any, with the best IoU with a prediction of the same class{proposed}."
    return [*lines, ("ground truth", text)]


def _texts(settings: GallerySettings) -> dict[str, list[tuple[str, str]]]:
    return {
        Proposals.KIND: [
            ("proposals", f"The {settings.proposals} best proposals, each in a colour of its own, smaller ones on top.")
        ],
        SemanticMaps.KIND: [
            (
                "semantics",
                "The semantic map that the run is trained on, each class in its colour, with its share of the image;"
                " what is not decided is hatched.",
            )
        ],
        Cues.KIND: [
            (
                "tagged, predicted",
                "A classifier's response to a class (dark: none, bright: strongest) and its peaks as discs; tagged"
                " classes first, then those that are only predicted. A good cue is one disc per object.",
            )
        ],
        ClusterLabels.KIND: [
            (
                "AGPL labels",
                "The pseudo labels that training starts from: for each cluster the pixels that at least half of its"
                " proposals hold.",
            )
        ],
        PseudoInstances.KIND: [
            (
                "accepted",
                "The components of the semantic map that hold exactly one cue of their class, which training starts"
                " from, and all cues that count; both in the colour of their class.",
            )
        ],
        RefinedLabels.KIND: [
            (
                "after updates",
                "The labels that the network, or a module of it, makes of this image for itself after so many updates:"
                " class, weight in the loss, and what is right or wrong with each."
                " Made with the image's tags, to be looked at alone.",
            )
        ],
        CenterMaps.KIND: [
            (
                "centers",
                "The heatmap of instance centers, highest over the classes (bright: the highest of the image).",
            ),
            (
                "offsets",
                "Where each pixel's instance center lies: red to the right, green below, cyan to the left, violet"
                " above; the stronger the colour, the farther; white: here. Outside of objects they mean nothing.",
            ),
        ],
        ModuleLabels.KIND: [
            (
                "attention",
                "Where a module of the cascade looks for the tagged classes, each object's map scaled to its maximum;"
                " of the refinement module the masks of the detections that a kept one suppresses.",
            ),
            (
                "labels",
                "The masks that a CRF makes of it, which the next module learns: class, weight in the losses, and"
                " what is right or wrong with each. Made with the image's tags, to be looked at alone.",
            ),
        ],
        Instances.KIND: [
            (
                "predictions",
                f"The best predictions, at most {settings.predictions}, from the score of the slider on; best first,"
                " each numbered. Where masks are known: what is right or wrong with each, and its IoU with the instance"
                " that it is about.",
            )
        ],
    }
