"""Painted panels of every kind of artifact: those of panels and map_panels, and of kinds that galleries do not paint.

The lens is the keeper of the painted panels: it draws each kind that there is, from files alone, without a browser.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.points import Points
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.tag_scores import TagScores
from stages.inspection.lens.painted import (
    Note,
    Panel,
    View,
    clusters_panel,
    counted,
    cue_panels,
    instances_panel,
    proposals_panel,
    scaled_points,
)
from stages.inspection.lens.painted_maps import (
    center_panels,
    module_panels,
    pseudo_instances_panel,
    refined_panels,
    semantics_panel,
)
from stages.ops.drawing import hatch, hexadecimal, mark, number, paint, palette, small_masks
from stages.ops.resize import nearest

VOID = np.array([150, 150, 150], np.uint8)


@dataclass(frozen=True)
class Brush:
    """How panels are painted; fields as in the settings of galleries."""

    opacity: float
    proposals: int
    responses: int
    predictions: int
    score_threshold: float


def image_panel(view: View, image: ImageRecord, _: dict[str, Any]) -> list[Panel]:
    """The image alone, with its tags."""
    tags = [view.classes[label] for label in np.flatnonzero(image.tags)]
    said = "tags: " + ", ".join(tags) if tags else "shows none of the classes" if image.looked_at else "nobody looked"
    return [Panel("image", view.rgb, [Note(said), Note(f"{image.width} x {image.height} pixels")])]


def ground_truth_panel(view: View, truth: GroundTruth, _: dict[str, Any]) -> list[Panel]:
    """The annotated instances, each in a colour of its own; void pixels are hatched."""
    if not truth.annotated:
        return [Panel("ground truth", view.rgb, [Note("no masks are known for this image")])]
    regions = truth.regions
    masks, colours = small_masks(regions, np.arange(len(regions)), *view.rgb.shape[:2]), palette(len(regions))
    drawn = paint(view.rgb, masks, colours, opacity=view.settings.opacity)
    drawn = hatch(drawn, nearest(truth.void_mask.astype(np.uint8), *view.rgb.shape[:2]) > 0, VOID)
    notes = []
    for i, label in enumerate(truth.classes):
        kind = " (crowd)" if truth.crowd[i] else " (difficult)" if truth.difficult[i] else ""
        notes.append(Note(f"{i + 1} {view.classes[label]}{kind}", hexadecimal(colours[i])))
    return [Panel("ground truth", number(drawn, masks), notes or [Note("no instance")])]


def boxes_panel(view: View, boxes: AnnotatedBoxes, _: dict[str, Any]) -> list[Panel]:
    """The annotated boxes, in the colours of their classes."""
    if not boxes.annotated:
        return [Panel("annotated boxes", view.rgb, [Note("no boxes are known for this image")])]
    drawn, colours = view.rgb.copy(), palette(len(view.classes))
    height, width = drawn.shape[:2]
    factors = np.tile([width / view.shape[1], height / view.shape[0]], 2)
    for box, label in zip(boxes.boxes, boxes.classes, strict=True):
        x0, y0, x1, y1 = (box * factors).round().astype(int).tolist()
        cv2.rectangle(drawn, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), colours[label].tolist(), 2)
    notes = []
    for label in np.unique(boxes.classes):
        own = boxes.classes == label
        odd = [(int((own & of).sum()), what) for of, what in ((boxes.crowd, "crowd"), (boxes.difficult, "difficult"))]
        told = ", ".join([counted(int(own.sum()), "object"), *(f"{count} {what}" for count, what in odd if count)])
        notes.append(Note(f"{view.classes[label]}: {told}", hexadecimal(colours[label])))
    return [Panel("annotated boxes", drawn, notes or [Note("no object")])]


def points_panel(view: View, points: Points, _: dict[str, Any]) -> list[Panel]:
    """The labelled points as discs, in the colours of their classes."""
    colours, places = palette(len(view.classes)), scaled_points(points.points, view.shape, view.rgb.shape[:2])
    present, counts = np.unique(points.classes, return_counts=True)
    notes = [
        Note(f"{view.classes[label]}: {counted(int(count), 'point')}", hexadecimal(colours[label]))
        for label, count in zip(present, counts, strict=True)
    ]
    return [Panel("points", mark(view.rgb, places, colours[points.classes]), notes or [Note("no point is known")])]


def tag_scores_panel(view: View, scores: TagScores, _: dict[str, Any]) -> list[Panel]:
    """The image, with the logit of each class that is tagged or among the highest, highest first."""
    order = np.argsort(-scores.scores, kind="stable")
    told = [label for rank, label in enumerate(order) if view.tags[label] or rank < view.settings.predictions]
    notes = [
        Note(f"{scores.scores[label]:+.2f} {view.classes[label]}{', tagged' if view.tags[label] else ''}")
        for label in told
    ]
    return [Panel("tag scores", view.rgb, notes)]


# From a view, the image's record and the header of its artifact; every kind of artifact has an entry.
PAINTED: dict[str, Callable[[View, Any, dict[str, Any]], list[Panel]]] = {
    ImageRecord.KIND: image_panel,
    GroundTruth.KIND: ground_truth_panel,
    AnnotatedBoxes.KIND: boxes_panel,
    Points.KIND: points_panel,
    TagScores.KIND: tag_scores_panel,
    Proposals.KIND: proposals_panel,
    SemanticMaps.KIND: semantics_panel,
    Cues.KIND: cue_panels,
    ClusterLabels.KIND: clusters_panel,
    PseudoInstances.KIND: pseudo_instances_panel,
    RefinedLabels.KIND: refined_panels,
    CenterMaps.KIND: center_panels,
    ModuleLabels.KIND: module_panels,
    Instances.KIND: instances_panel,
}
