"""Panels of maps: semantic maps, accepted components, refined labels, centers and offsets."""

from typing import Any

import numpy as np

from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.semantic_maps import UNCERTAIN, SemanticMaps
from stages.inspection.lens.painted import Note, Panel, View, predictions_panel, scaled_points
from stages.inspection.wording import counted
from stages.ops.drawing import (
    directions,
    hatch,
    heatmap,
    hexadecimal,
    mark,
    paint,
    palette,
)
from stages.ops.resize import nearest

GREY = np.array([150, 150, 150], np.uint8)  # of what is not decided


def semantics_panel(view: View, semantics: SemanticMaps, _: dict[str, Any]) -> list[Panel]:
    """The semantic map, one colour per class, with each class's share of the image; uncertain pixels are hatched."""
    rgb, classes, settings = view.rgb, view.classes, view.settings
    labels, colours = nearest(semantics.labels, *rgb.shape[:2]), palette(len(classes))
    counts = np.bincount(semantics.labels.reshape(-1), minlength=UNCERTAIN + 1)
    present = np.flatnonzero(counts[1 : 1 + len(classes)])
    drawn = paint(rgb, labels == 1 + present[:, None, None], colours[present], opacity=settings.opacity)
    drawn = hatch(drawn, labels == UNCERTAIN, GREY)
    shares = 100 * counts / semantics.labels.size
    notes = [Note(f"{classes[label]} {shares[1 + label]:.1f} %", hexadecimal(colours[label])) for label in present]
    if counts[UNCERTAIN]:
        notes.append(Note(f"uncertain {shares[UNCERTAIN]:.1f} %", hexadecimal(GREY)))
    return [Panel("semantics", drawn, notes or [Note("background alone")])]


def pseudo_instances_panel(view: View, pseudo: PseudoInstances, _: dict[str, Any]) -> list[Panel]:
    """The accepted components and the cues, each in the colour of its class."""
    rgb, classes, settings = view.rgb, view.classes, view.settings
    count, colours = len(pseudo.classes), palette(len(classes))
    masks = nearest(pseudo.instances, *rgb.shape[:2]) == np.arange(1, count + 1)[:, None, None]
    points = scaled_points(pseudo.points, pseudo.instances.shape, rgb.shape[:2])
    drawn = paint(rgb, masks, colours[pseudo.classes], opacity=settings.opacity)
    notes = [Note(f"{count} accepted of {counted(int(pseudo.candidates), 'component')}")]
    for label in np.union1d(pseudo.point_classes, pseudo.classes):
        accepted, cues = (int((of == label).sum()) for of in (pseudo.classes, pseudo.point_classes))
        notes.append(
            Note(f"{classes[label]}: {accepted} accepted, {counted(cues, 'cue')}", hexadecimal(colours[label]))
        )
    return [Panel("accepted", mark(drawn, points, colours[pseudo.point_classes]), notes)]


def refined_panels(view: View, labels: RefinedLabels, header: dict[str, Any]) -> list[Panel]:
    """The refined labels after each update, drawn as predictions are; none is too weak to be painted."""
    what = header.get("module", "refined")
    return [
        predictions_panel(
            view, labels.after(update), title=f"{what} after {counted(update, 'update')}", score_threshold=0.0
        )
        for update in header["updates"]
    ]


def module_panels(view: View, labels: ModuleLabels, header: dict[str, Any]) -> list[Panel]:
    """What a module of a cascade hands on: the attention of all its objects, and the masks that the CRF made of it."""
    module, count = header["module"], len(labels.classes)
    attention = labels.attention.astype(np.float32).max(axis=0, initial=0.0)
    return [
        Panel(
            f"{module}: attention",
            heatmap(view.rgb, attention, opacity=view.settings.opacity),
            [Note(counted(count, "object"))],
        ),
        predictions_panel(view, labels.as_instances, title=f"{module}: labels", score_threshold=0.0),
    ]


def center_panels(view: View, maps: CenterMaps, _: dict[str, Any]) -> list[Panel]:
    """The heatmap of centers over the image, and the offsets as colours: direction as hue, length as saturation."""
    rgb, settings = view.rgb, view.settings
    offsets = maps.offsets.astype(np.float32)
    longest = float(np.hypot(*offsets).max())
    return [
        Panel(
            "centers", heatmap(rgb, maps.heatmap, opacity=settings.opacity), [Note(f"highest {maps.heatmap.max():.2f}")]
        ),
        Panel("offsets", directions(offsets, *rgb.shape[:2]), [Note(f"longest {longest:.0f} pixels")]),
    ]
