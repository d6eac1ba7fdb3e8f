"""The panels of a gallery's row: what each artifact says about a picture, drawn and described."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.inspection.choice import same_class_iou
from stages.inspection.settings import GallerySettings
from stages.ops.drawing import heat, hexadecimal, mark, number, paint, palette, small_masks
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


def proposals_panel(rgb: np.ndarray, proposals: Proposals, settings: GallerySettings) -> Panel:
    """The best proposals, each in a colour of its own; smaller ones lie on top of larger ones."""
    regions = proposals.regions
    best = np.arange(min(len(regions), settings.proposals))
    smallest_first = np.argsort(regions.areas()[best], kind="stable")
    masks = small_masks(regions, best[smallest_first], *rgb.shape[:2])
    notes = [Note(counted(len(regions), "proposal")), Note(f"the best {len(best)} are painted")]
    return Panel("proposals", paint(rgb, masks, palette(len(best))[smallest_first], opacity=settings.opacity), notes)


def counted(count: int, noun: str) -> str:
    """A number with its noun in singular or plural."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def cue_panels(
    rgb: np.ndarray, cues: Cues, tags: np.ndarray, *, head: str, classes: Sequence[str], shape: tuple[int, int],
    settings: GallerySettings,
) -> list[Panel]:  # fmt: skip
    """A response map with its peaks for each tagged class, then for those that are only predicted.

    `head` is the kind of the classifier's head, or points; `shape` the picture's height and width in pixels, in which
    peaks are given. Cues from points have no maps.
    """
    has_maps = cues.responses.shape[1] > 0
    tagged = np.flatnonzero(tags)
    predicted = np.flatnonzero(~tags & (cues.class_scores > 0)) if has_maps else np.zeros(0, int)
    predicted = predicted[np.argsort(-cues.class_scores[predicted], kind="stable")]
    colours = palette(len(classes))
    panels = []
    for label in [*tagged, *predicted][: settings.responses]:
        own = np.flatnonzero(cues.peak_classes == label)
        own = own[np.argsort(-cues.peak_scores[own], kind="stable")]
        points = scaled_points(cues.peaks[own], shape, rgb.shape[:2])
        drawn = heat(rgb, cues.responses[label], opacity=settings.opacity) if has_maps else rgb
        marked = mark(drawn, points, np.tile(colours[label], (len(own), 1)))
        kind = head.upper() if has_maps else head
        title = f"{kind}, {'tagged' if tags[label] else 'predicted'}: {classes[label]}"
        panels.append(Panel(title, marked, _peak_notes(cues, label, own, hexadecimal(colours[label]), maps=has_maps)))
    return panels


def _peak_notes(cues: Cues, label: int, own: np.ndarray, colour: str, *, maps: bool) -> list[Note]:
    if not maps:
        return [Note(counted(len(own), "point"), colour)]
    scores = ", ".join(f"{score:.1f}" for score in cues.peak_scores[own][:5])
    peaks = counted(len(own), "peak") + (f": {scores}{', …' if len(own) > 5 else ''}" if len(own) else "")
    return [Note(f"class score {cues.class_scores[label]:.1f}"), Note(peaks, colour)]


def scaled_points(points: np.ndarray, shape: tuple[int, int], drawn: tuple[int, int]) -> np.ndarray:
    """Points (n, 2) (y, x) of a picture of `shape` on an image of another size, (n, 2) int, inside it."""
    factors = np.array(drawn) / np.array(shape)
    return np.clip(((points + 0.5) * factors).astype(int), 0, np.array(drawn) - 1)


def clusters_panel(
    rgb: np.ndarray, labels: ClusterLabels, proposals: Proposals, *, classes: Sequence[str], settings: GallerySettings
) -> Panel:
    """Each foreground cluster: the pixels that at least half of its proposals hold."""
    regions = proposals.regions
    if len(labels.clusters) != len(regions):
        raise ValueError(
            f"picture {labels.picture!r}: {len(labels.clusters)} cluster labels for {len(regions)} proposals; they "
            "come from different proposals: remake the labels"
        )
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
    return Panel("AGPL labels", _numbered(rgb, drawn, colours, settings), notes)


def predictions_panel(
    rgb: np.ndarray, instances: Instances, truth: GroundTruth, *, classes: Sequence[str], settings: GallerySettings,
    title: str = "predictions",
) -> Panel:  # fmt: skip
    """The best predictions with class and score and, where masks are known, IoU with an instance of their class."""
    order = np.argsort(-instances.scores, kind="stable")
    shown = order[instances.scores[order] >= settings.score_threshold][: settings.predictions]
    masks, colours = small_masks(instances.regions, shown, *rgb.shape[:2]), palette(len(shown))
    overlap = same_class_iou(instances, truth).max(axis=1, initial=0.0) if truth.annotated else None
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


def truth_panel(
    rgb: np.ndarray,
    truth: GroundTruth,
    *,
    proposals: Proposals | None,
    instances: Instances,
    classes: Sequence[str],
    settings: GallerySettings,
) -> Panel:
    """The annotated instances, and the best IoU that a proposal, if any, and a prediction of their class reach."""
    regions = truth.regions
    masks, colours = small_masks(regions, np.arange(len(regions)), *rgb.shape[:2]), palette(len(regions))
    proposed = None if proposals is None else proposals.regions.iou(regions).max(axis=0, initial=0.0)
    predicted = same_class_iou(instances, truth).max(axis=0, initial=0.0)
    notes = []
    for i in range(len(regions)):
        kind = " (crowd)" if truth.crowd[i] else " (difficult)" if truth.difficult[i] else ""
        reached = ("" if proposed is None else f"proposal {proposed[i]:.2f}, ") + f"found {predicted[i]:.2f}"
        notes.append(Note(f"{i + 1} {classes[truth.classes[i]]}{kind}: {reached}", hexadecimal(colours[i])))
    return Panel("truth", _numbered(rgb, masks, colours, settings), notes or [Note("no instance")])


def _numbered(rgb: np.ndarray, masks: np.ndarray, colours: np.ndarray, settings: GallerySettings) -> np.ndarray:
    return number(paint(rgb, masks, colours, opacity=settings.opacity), masks)
