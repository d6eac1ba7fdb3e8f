"""Layers of a gallery: what each kind of artifact says of an image, as data that the page draws."""

from typing import Any

import numpy as np

from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.semantic_maps import UNCERTAIN, SemanticMaps
from stages.inspection.gallery.scene import (
    Layer,
    Scene,
    direction_layer,
    instance_entries,
    label_layer,
    map_layer,
    region_layer,
    scaled_points,
)
from stages.inspection.shown import clustered_regions, peaks_in_words, peaks_of, shown_classes
from stages.inspection.wording import counted
from stages.ops.regions import Regions


def proposal_layers(scene: Scene, proposals: Proposals, _: dict[str, Any]) -> list[Layer]:
    """The best proposals, in their order."""
    best = np.arange(min(len(proposals.scores), scene.settings.proposals))
    regions = scene.regions(proposals)
    notes = [counted(len(regions), "proposal"), f"the best {len(best)} are shown"]
    entries = [{"i": int(i), "c": -1, "s": round(float(proposals.scores[i]), 4)} for i in best]
    return [region_layer(scene, "proposals", regions.select(best), entries, notes=notes, ranked=True)]


def semantics_layers(scene: Scene, semantics: SemanticMaps, _: dict[str, Any]) -> list[Layer]:
    """The semantic map, with each class's share of the image."""
    counts = np.bincount(semantics.labels.reshape(-1), minlength=UNCERTAIN + 1)
    shares = 100 * counts / semantics.labels.size
    notes = [f"{name} {shares[1 + label]:.1f} %" for label, name in enumerate(scene.classes) if counts[1 + label]]
    notes += [f"uncertain {shares[UNCERTAIN]:.1f} %"] if counts[UNCERTAIN] else []
    return [label_layer(scene, "semantics", semantics.labels, notes=notes or ["background alone"])]


def cue_layers(scene: Scene, cues: Cues, header: dict[str, Any]) -> list[Layer]:
    """A response map with its peaks for each tagged class, then for those that are only predicted.

    The header's `head` is the kind of the classifier's head, or points. Cues from points have no maps.
    """
    tags, head = scene.tags, header["head"]
    has_maps = not cues.from_points
    layers = []
    for label in shown_classes(cues, tags, most=scene.settings.responses):
        own = peaks_of(cues, label)
        kind = head.upper() if has_maps else head
        title = f"{kind}, {'tagged' if tags[label] else 'predicted'}: {scene.classes[label]}"
        response = cues.responses[label] if has_maps else np.zeros((1, 1), np.float32)
        points = scaled_points(scene, cues.peaks[own], cues.peak_classes[own])
        notes = [f"class score {cues.class_scores[label]:.1f}", peaks_in_words(cues, own)]
        notes = notes if has_maps else [counted(len(own), "point")]
        layers.append(map_layer(title, response, notes=notes, points=points, empty=not has_maps))
    return layers


def cluster_layers(scene: Scene, labels: ClusterLabels, _: dict[str, Any]) -> list[Layer]:
    """Each foreground cluster: the pixels that at least half of its proposals hold."""
    regions = clustered_regions(labels, scene.records.get(Proposals.KIND))
    foreground = np.unique(labels.clusters[labels.cluster_classes >= 0])
    votes = labels.clusters == foreground[:, None]
    held = regions.support(votes) >= 0.5 if len(votes) else np.zeros((0, len(regions.sizes)), bool)
    entries = [
        {"i": i, "c": int(labels.cluster_classes[own][0]), "note": counted(int(own.sum()), "proposal")}
        for i, own in enumerate(votes)
    ]
    background = int(((labels.clusters > 0) & (labels.cluster_classes < 0)).sum())
    notes = [f"background {background}, ignored {int((labels.clusters == 0).sum())}"]
    masks = Regions(regions.atoms, held, regions.sizes)
    return [region_layer(scene, "AGPL labels", masks.select(slice(None)), entries, notes=notes)]


def pseudo_instance_layers(scene: Scene, pseudo: PseudoInstances, _: dict[str, Any]) -> list[Layer]:
    """The accepted components, and the cues as points."""
    count = len(pseudo.classes)
    entries = [{"i": i, "c": int(label)} for i, label in enumerate(pseudo.classes)]
    notes = [
        f"{count} accepted of {counted(int(pseudo.candidates), 'component')}",
        counted(len(pseudo.points), "cue"),
    ]
    points = scaled_points(scene, pseudo.points, pseudo.point_classes)
    return [region_layer(scene, "accepted", pseudo.regions, entries, notes=notes, points=points)]


def refined_layers(scene: Scene, labels: RefinedLabels, header: dict[str, Any]) -> list[Layer]:
    """The refined labels after each update; none is too weak to be shown."""
    what = header.get("module", "refined")
    return [
        instance_layer(scene, labels.after(update), title=f"{what} after {counted(update, 'update')}", weak=True)
        for update in header["updates"]
    ]


def module_layers(scene: Scene, labels: ModuleLabels, header: dict[str, Any]) -> list[Layer]:
    """What a module of a cascade hands on: the attention of all its objects, and the masks that the CRF made of it."""
    module, count = header["module"], len(labels.classes)
    grid = labels.attention.astype(np.float32)
    attention = grid.max(axis=0, initial=0.0) if grid.shape[1:] != (0, 0) else np.zeros((1, 1), np.float32)
    return [
        map_layer(f"{module}: attention", attention, notes=[counted(count, "object")]),
        instance_layer(scene, labels.as_instances, title=f"{module}: labels", weak=True),
    ]


def center_layers(_: Scene, maps: CenterMaps, header: dict[str, Any]) -> list[Layer]:
    """The heatmap of centers, and the offsets as directions."""
    longest = float(np.hypot(*maps.offsets.astype(np.float32)).max())
    return [
        map_layer("centers", maps.heatmap, notes=[f"highest {maps.heatmap.max():.2f}"]),
        direction_layer("offsets", maps.offsets, notes=[f"longest {longest:.0f} pixels"]),
    ]


def prediction_layers(scene: Scene, instances: Instances, header: dict[str, Any]) -> list[Layer]:
    """The best predictions of a run, or of the part of it that the header names."""
    part = header["run"].partition("/")[2]
    return [instance_layer(scene, instances, title=f"predictions, {part}" if part else "predictions")]


def run_layers(scene: Scene, instances: Instances, header: dict[str, Any]) -> list[Layer]:
    """The best predictions of a run, under its name, where several runs stand side by side."""
    return [instance_layer(scene, instances, title=header["run"])]


def instance_layer(scene: Scene, instances: Instances, *, title: str, weak: bool = False) -> Layer:
    """The best instances with class and score, and what is right or wrong with them; `weak`: the slider spares them."""
    order = np.argsort(-instances.scores, kind="stable")
    shown = order[: scene.settings.predictions]
    left = len(order) - len(shown)
    entries = instance_entries(scene, instances, shown)
    notes = [f"{left} weaker not shown"] if left else []
    return region_layer(
        scene, title, scene.regions(instances).select(shown), entries, notes=notes, scored=not weak, found=len(order)
    )


def ground_truth_layers(scene: Scene) -> list[Layer]:
    """The annotated instances, where there are any, and the best IoU that a proposal and a prediction reach."""
    known = scene.ground_truth
    if not known.annotated:
        return []
    proposals, instances = scene.records.get(Proposals.KIND), scene.records[Instances.KIND]
    regions = scene.regions(known)
    proposed = None if proposals is None else scene.overlap_with_truth(proposals).max(axis=0, initial=0.0)
    predicted = scene.class_overlap(instances).max(axis=0, initial=0.0)
    entries = []
    for i, label in enumerate(known.classes):
        note = [] if proposed is None else [f"best proposal {proposed[i]:.2f}"]
        note += ["crowd"] if known.crowd[i] else ["difficult"] if known.difficult[i] else []
        entries.append({"i": i, "c": int(label), "iou": round(float(predicted[i]), 3), "note": ", ".join(note)})
    return [region_layer(scene, "ground truth", regions, entries, notes=[] if entries else ["no instance"], truth=True)]
