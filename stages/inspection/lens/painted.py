"""Painted panels: what the artifacts of proposals, cues, labels and instances say, drawn and described."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.records import Record
from stages.inspection.gallery.choice import same_class_iou
from stages.inspection.settings import GallerySettings
from stages.inspection.shown import clustered_regions, peaks_in_words, peaks_of, shown_classes
from stages.inspection.wording import counted
from stages.ops.drawing import heatmap, hexadecimal, mark, number, paint, palette, small_masks
from stages.ops.resize import nearest


@dataclass(frozen=True)
class Note:
    """A line below a panel; `colour` (#rrggbb) of what it speaks of, or empty."""

    text: str
    colour: str = ""


@dataclass(frozen=True)
class Panel:
    """An image (H, W, 3) uint8 with a title and notes."""

    title: str
    image: np.ndarray
    notes: list[Note]


@dataclass(frozen=True)
class View:
    """What a panel is drawn on, and what it may look at.

    Attributes:
        rgb: the image at the size of the page, (h, w, 3) uint8.
        shape: height and width of the image itself, in which points and masks are given.
        tags: (C,) bool, the image's tags.
        classes: names of the C classes.
        settings: how panels are drawn.
        ground_truth: annotated instances.
        records: the first record of each kind that the gallery shows of the image.
    """

    rgb: np.ndarray
    shape: tuple[int, int]
    tags: np.ndarray
    classes: list[str]
    settings: GallerySettings
    ground_truth: GroundTruth
    records: dict[str, Record]


def proposals_panel(view: View, proposals: Proposals, _: dict[str, Any]) -> list[Panel]:
    """The best proposals, each in a colour of its own; smaller ones lie on top of larger ones."""
    rgb, settings = view.rgb, view.settings
    regions = proposals.regions
    best = np.arange(min(len(regions), settings.proposals))
    smallest_first = np.argsort(regions.areas()[best], kind="stable")
    masks = small_masks(regions, best[smallest_first], *rgb.shape[:2])
    notes = [Note(counted(len(regions), "proposal")), Note(f"the best {len(best)} are painted")]
    drawn = paint(rgb, masks, palette(len(best))[smallest_first], opacity=settings.opacity)
    return [Panel("proposals", drawn, notes)]


def cue_panels(view: View, cues: Cues, header: dict[str, Any]) -> list[Panel]:
    """A response map with its peaks for each tagged class, then for those that are only predicted.

    The header's `head` is the kind of the classifier's head, or points. Cues from points have no maps.
    """
    rgb, tags, classes, settings, head = view.rgb, view.tags, view.classes, view.settings, header["head"]
    has_maps = not cues.from_points
    colours = palette(len(classes))
    panels = []
    for label in shown_classes(cues, tags, most=settings.responses):
        own = peaks_of(cues, label)
        points = scaled_points(cues.peaks[own], view.shape, rgb.shape[:2])
        drawn = heatmap(rgb, cues.responses[label], opacity=settings.opacity) if has_maps else rgb
        marked = mark(drawn, points, np.tile(colours[label], (len(own), 1)))
        kind = head.upper() if has_maps else head
        title = f"{kind}, {'tagged' if tags[label] else 'predicted'}: {classes[label]}"
        panels.append(Panel(title, marked, _peak_notes(cues, label, own, hexadecimal(colours[label]), maps=has_maps)))
    return panels


def _peak_notes(cues: Cues, label: int, own: np.ndarray, colour: str, *, maps: bool) -> list[Note]:
    if not maps:
        return [Note(counted(len(own), "point"), colour)]
    return [Note(f"class score {cues.class_scores[label]:.1f}"), Note(peaks_in_words(cues, own), colour)]


def scaled_points(points: np.ndarray, shape: tuple[int, int], drawn: tuple[int, int]) -> np.ndarray:
    """Points (n, 2) (y, x) of an image of `shape` on an image of another size, (n, 2) int, inside it."""
    factors = np.array(drawn) / np.array(shape)
    return np.clip(((points + 0.5) * factors).astype(int), 0, np.array(drawn) - 1)


def clusters_panel(view: View, labels: ClusterLabels, _: dict[str, Any]) -> list[Panel]:
    """Each foreground cluster: the pixels that at least half of its proposals hold."""
    rgb, classes, settings = view.rgb, view.classes, view.settings
    regions = clustered_regions(labels, view.records.get(Proposals.KIND))
    foreground = np.unique(labels.clusters[labels.cluster_classes >= 0])
    colours, atoms = palette(len(foreground)), nearest(regions.atoms, *rgb.shape[:2])
    members = [labels.clusters == cluster for cluster in foreground]
    masks = [(regions.membership[member].mean(axis=0) >= 0.5)[atoms] for member in members]
    names = [classes[labels.cluster_classes[member][0]] for member in members]
    notes = [
        Note(f"{i + 1} {name}: {counted(int(member.sum()), 'proposal')}", hexadecimal(colours[i]))
        for i, (name, member) in enumerate(zip(names, members, strict=True))
    ]
    background = int(((labels.clusters > 0) & (labels.cluster_classes < 0)).sum())
    notes.append(Note(f"background {background}, ignored {int((labels.clusters == 0).sum())}"))
    drawn = np.stack(masks) if masks else np.zeros((0, *rgb.shape[:2]), bool)
    return [Panel("AGPL labels", _numbered(rgb, drawn, colours, settings), notes)]


def instances_panel(view: View, instances: Instances, header: dict[str, Any]) -> list[Panel]:
    """The best predictions of a run, or of the part of it that the header names."""
    part = header["run"].partition("/")[2]
    return [predictions_panel(view, instances, title=f"predictions, {part}" if part else "predictions")]


def predictions_panel(view: View, instances: Instances, *, title: str, score_threshold: float | None = None) -> Panel:
    """The best instances with class and score and, where masks are known, IoU with an instance of their class."""
    rgb, ground_truth, classes, settings = view.rgb, view.ground_truth, view.classes, view.settings
    least = settings.score_threshold if score_threshold is None else score_threshold
    order = np.argsort(-instances.scores, kind="stable")
    shown = order[instances.scores[order] >= least][: settings.predictions]
    masks, colours = small_masks(instances.regions, shown, *rgb.shape[:2]), palette(len(shown))
    overlap = same_class_iou(instances, ground_truth).max(axis=1, initial=0.0) if ground_truth.annotated else None
    notes = [
        Note(
            f"{i + 1} {classes[instances.classes[d]]} {instances.scores[d]:.2f}"
            + ("" if overlap is None else f" (IoU {overlap[d]:.2f})"),
            hexadecimal(colours[i]),
        )
        for i, d in enumerate(shown)
    ]
    if len(shown) < len(instances.scores):
        notes.append(Note(f"{len(instances.scores) - len(shown)} weaker not painted"))
    return Panel(title, _numbered(rgb, masks, colours, settings), notes or [Note("none")])


def ground_truth_panels(view: View) -> list[Panel]:
    """The annotated instances, where there are any, and the best IoU that a proposal and a prediction reach."""
    rgb, ground_truth, classes, settings = view.rgb, view.ground_truth, view.classes, view.settings
    if not ground_truth.annotated:
        return []
    proposals, instances = view.records.get(Proposals.KIND), view.records[Instances.KIND]
    regions = ground_truth.regions
    masks, colours = small_masks(regions, np.arange(len(regions)), *rgb.shape[:2]), palette(len(regions))
    proposed = None if proposals is None else proposals.regions.iou(regions).max(axis=0, initial=0.0)
    predicted = same_class_iou(instances, ground_truth).max(axis=0, initial=0.0)
    notes = []
    for i in range(len(regions)):
        kind = " (crowd)" if ground_truth.crowd[i] else " (difficult)" if ground_truth.difficult[i] else ""
        reached = ("" if proposed is None else f"proposal {proposed[i]:.2f}, ") + f"found {predicted[i]:.2f}"
        notes.append(Note(f"{i + 1} {classes[ground_truth.classes[i]]}{kind}: {reached}", hexadecimal(colours[i])))
    return [Panel("ground truth", _numbered(rgb, masks, colours, settings), notes or [Note("no instance")])]


def _numbered(rgb: np.ndarray, masks: np.ndarray, colours: np.ndarray, settings: GallerySettings) -> np.ndarray:
    return number(paint(rgb, masks, colours, opacity=settings.opacity), masks)
