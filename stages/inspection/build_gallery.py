"""Step `build_gallery`: one page that shows what every stage of a run made of some pictures."""

import itertools
import logging
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.files import read_json, write_text
from stages.core.images.pictures import load_rgb
from stages.core.workflow import step
from stages.core.workflow.pages import render_page
from stages.inspection.choice import by_quality, evenly, prediction_quality
from stages.inspection.map_panels import centre_panels, pseudo_instances_panel, refined_panels, semantics_panel
from stages.inspection.panels import (
    Note,
    Panel,
    clusters_panel,
    cue_panels,
    predictions_panel,
    proposals_panel,
    truth_panel,
)
from stages.inspection.settings import GallerySettings
from stages.inspection.sources import KINDS, Sources, opened
from stages.ops.drawing import jpeg_uri
from stages.ops.resize import resize, scaled_size

log = logging.getLogger(__name__)
TEMPLATE = Path(__file__).with_name("gallery.html.jinja")
PRESETS = ("voc", "cim", "sds", "coco")  # order of the header's numbers
# Artifacts with maps of the picture's size, and such a field of each.
SIZED = {
    "proposals": "atoms",
    "semantics": "labels",
    "pseudo_instances": "labels",
    "refined_labels": "atoms",
    "instances": "atoms",
    "refined": "atoms",
    "ground_truth": "atoms",
}


def build_gallery(
    *,
    images: Path,
    proposals: Path | None,
    semantics: Path | None,
    semantic_cues: Path | None,
    cues: Path,
    cluster_labels: Path | None,
    pseudo_instances: Path | None,
    refined_labels: Path | None,
    maps: Path | None,
    instances: Path,
    refined: Path | None,
    ground_truth: Path,
    metrics: Path | None,
    output: Path,
    settings: GallerySettings,
) -> None:
    """Write a page that holds all its images itself, one row a picture.

    Args:
        images: images.h5 of a split; all other artifacts are of the same split.
        proposals: the run's proposals, or None for methods without.
        semantics: the semantic maps that a run of BESTIE is trained on, or None.
        semantic_cues: cues of the classifier that they come from, where it is another than that of `cues`, or None.
        cues: the run's cues.
        cluster_labels: the run's AGPL labels, or None for methods without.
        pseudo_instances: the components that BESTIE accepts, or None.
        refined_labels: its refined labels at several updates, or None.
        maps: its centre and offset maps, or None.
        instances: the run's predictions.
        refined: those of the Mask R-CNN that was trained on the run's masks, or None.
        ground_truth: annotated instances; pictures whose masks are not known have no such panel.
        metrics: the run's metrics.json on this split, or None.
        output: index.html.
        settings: how many and which pictures, and how they are drawn.

    Raises:
        ValueError: artifacts of different classes, pictures, sizes or runs, or metrics of another run.
    """
    paths = {
        "images": images, "proposals": proposals, "semantics": semantics, "semantic_cues": semantic_cues, "cues": cues,
        "cluster_labels": cluster_labels, "pseudo_instances": pseudo_instances, "refined_labels": refined_labels,
        "maps": maps, "instances": instances, "refined": refined, "ground_truth": ground_truth,
    }  # fmt: skip
    with opened(paths) as sources:
        numbers = None if metrics is None else _checked_metrics(metrics, sources)
        chosen = _chosen(sources, settings)
        rows = [
            _row(sources, i, settings)
            for i in step.progress(chosen.tolist(), total=len(chosen), label="pictures drawn")
        ]
        page = render_page(TEMPLATE, head=_header(sources, numbers), rows=rows, settings=settings)
    write_text(output, page)
    log.info("%s: %d of %d pictures, %.1f MB", output, len(rows), len(sources.images), len(page) / 1e6)


def _checked_metrics(path: Path, sources: Sources) -> dict[str, Any]:
    metrics = read_json(path)
    found = metrics.get("run"), metrics.get("split")
    expected = sources.instances.header["run"], sources.images.header["split"]
    if found != expected:
        raise ValueError(f"{path} is of run and split {found}, the predictions are of {expected}; evaluate them again")
    return metrics


def _chosen(sources: Sources, settings: GallerySettings) -> np.ndarray:
    """Positions in the images of the pictures to show, in the order of the rows."""
    if settings.choice == "even":
        return evenly(len(sources.images), settings.pictures)
    quality = [
        prediction_quality(sources.instances.find(picture), sources.ground_truth.find(picture))
        for picture in step.progress(sources.images.ids, total=len(sources.images), label="pictures compared")
    ]
    return by_quality(quality, settings.pictures, best=settings.choice == "best")


def _row(sources: Sources, position: int, settings: GallerySettings) -> dict[str, Any]:
    """One picture's row for the template."""
    record = sources.images[position]
    full = load_rgb(record, sources.images.header["root"])
    rgb = resize(full, *scaled_size(*full.shape[:2], settings.longer_side))
    found = {name: sources.found(name, record.picture) for name in KINDS}
    _check_sizes(found, full.shape[:2])
    panels = [
        Panel("picture", rgb, [Note(f"{full.shape[1]} x {full.shape[0]} pixels")]),
        *_made_from(rgb, found, sources, settings),
        *_made_by_the_run(rgb, found, sources, settings),
    ]
    return {
        "picture": record.picture,
        "tags": [sources.classes[label] for label in np.flatnonzero(record.tags)],
        "panels": [_encoded(panel, settings) for panel in panels],
    }


def _check_sizes(found: dict[str, Any], size: tuple[int, int]) -> None:
    """Raise ValueError where a record has not the picture's size (height, width)."""
    for name, field in SIZED.items():
        record = found[name]
        if record is None or (name == "ground_truth" and not record.annotated):
            continue
        height, width = getattr(record, field).shape
        if (height, width) != size:
            raise ValueError(
                f"picture {record.picture!r} has {size[0]}x{size[1]} pixels, its {record.KIND} have {height}x{width}; "
                "remake them from the same pictures"
            )


def _made_from(rgb: np.ndarray, found: dict[str, Any], sources: Sources, settings: GallerySettings) -> list[Panel]:
    """What the run starts from: proposals, semantic map, cues."""
    record, common = found["images"], {"classes": sources.classes, "settings": settings}
    panels = []
    if found["proposals"] is not None:
        panels.append(proposals_panel(rgb, found["proposals"], settings))
    if found["semantics"] is not None:
        panels.append(semantics_panel(rgb, found["semantics"], **common))
    heads = [
        cue_panels(
            rgb, found[name], record.tags, head=getattr(sources, name).header["head"],
            shape=(int(record.height), int(record.width)), **common,
        )
        for name in ("semantic_cues", "cues")
        if found[name] is not None
    ]  # fmt: skip
    # A class's maps of two classifiers side by side.
    return panels + [panel for pair in itertools.zip_longest(*heads) for panel in pair if panel is not None]


def _made_by_the_run(
    rgb: np.ndarray, found: dict[str, Any], sources: Sources, settings: GallerySettings
) -> list[Panel]:
    """What the run makes of it, from its labels to its predictions, and the truth."""
    proposals, truth, common = (
        found["proposals"],
        found["ground_truth"],
        {"classes": sources.classes, "settings": settings},
    )
    panels = []
    if found["cluster_labels"] is not None:
        panels.append(clusters_panel(rgb, found["cluster_labels"], proposals, **common))
    if found["pseudo_instances"] is not None:
        panels.append(pseudo_instances_panel(rgb, found["pseudo_instances"], **common))
    if found["refined_labels"] is not None:
        updates = sources.refined_labels.header["updates"]
        panels += refined_panels(rgb, found["refined_labels"], truth, updates=updates, **common)
    if found["maps"] is not None:
        panels += centre_panels(rgb, found["maps"], settings)
    panels.append(predictions_panel(rgb, found["instances"], truth, **common))
    if found["refined"] is not None:
        panels.append(predictions_panel(rgb, found["refined"], truth, title="Mask R-CNN", **common))
    if truth.annotated:
        panels.append(truth_panel(rgb, truth, proposals=proposals, instances=found["instances"], **common))
    return panels


def _encoded(panel: Panel, settings: GallerySettings) -> dict[str, Any]:
    """A panel for the template, its image compressed."""
    height, width = panel.image.shape[:2]
    uri = jpeg_uri(panel.image, quality=settings.jpeg_quality)
    return {"title": panel.title, "notes": panel.notes, "uri": uri, "height": height, "width": width}


def _header(sources: Sources, metrics: dict[str, Any] | None) -> dict[str, Any]:
    images, instances = sources.images.header, sources.instances.header
    return {
        "run": instances["run"],
        "method": instances["method"],
        "supervision": instances["supervision"],
        "dataset": images["name"],
        "split": images["split"],
        "count": len(sources.images),
        "classes": sources.classes,
        "sources": _named_sources(sources),
        "has": {name for name in KINDS if getattr(sources, name) is not None},
        "measured": metrics["n_images"] if metrics else 0,
        "treatment": metrics["treatment"] if metrics else {},
        "metrics": _metric_rows(metrics) if metrics and metrics["n_images"] else [],
    }


def _named_sources(sources: Sources) -> list[str]:
    """What the run starts from, in words."""
    named = [
        f"{words} {artifact.header['source']} ({artifact.header['supervision']})"
        for words, artifact in (("proposals", sources.proposals), ("semantic maps", sources.semantics))
        if artifact is not None
    ]
    return [*named, f"cues {sources.cues.header['head']}"]


def _metric_rows(metrics: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Preset and its numbers in percent as text, then the overlap that needs no preset."""
    masks = metrics["masks"]
    rows = [(f"preset {name}", masks[name]) for name in PRESETS if name in masks]
    rows.append(("average best overlap", {name: masks[name] for name in ("ABO", "MABO") if name in masks}))
    return [(name, {key: "-" if v is None else f"{v:.1f}" for key, v in values.items()}) for name, values in rows]


if __name__ == "__main__":
    step.run(build_gallery)
