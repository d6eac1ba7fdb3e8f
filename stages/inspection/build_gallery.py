"""Step `build_gallery`: one page that shows what every stage of a run made of some images."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.files import read_json, write_text
from stages.core.images.loading import load_rgb
from stages.core.workflow import step
from stages.core.workflow.pages import render_page
from stages.inspection.choice import by_quality, evenly, prediction_quality
from stages.inspection.kinds import PANELS, legend
from stages.inspection.panels import Note, Panel, View, ground_truth_panels
from stages.inspection.settings import GallerySettings
from stages.inspection.sources import Sources, opened
from stages.ops.drawing import jpeg_uri
from stages.ops.resize import resize, scaled_size

log = logging.getLogger(__name__)
TEMPLATE = Path(__file__).with_name("gallery.html.jinja")
PRESETS = ("voc", "cim", "sds", "coco")  # order of the header's numbers
BOX_PRESETS = ("voc07", "voc12")
MAPS = ("atoms", "labels")  # fields of records that have the image's size


def build_gallery(
    *,
    images: Path,
    artifacts: list[Path],
    ground_truth: Path,
    metrics: Path | None,
    output: Path,
    settings: GallerySettings,
) -> None:
    """Write a page that holds all its images itself, one row per image, one panel or more per artifact.

    Args:
        images: images.h5 of a split; all other artifacts are of the same split.
        artifacts: what is shown, in the order of the panels: what a run takes from upstream, what it makes on the way,
            and its predictions; kinds as in `stages.inspection.kinds`.
        ground_truth: annotated instances; images whose masks are not known have no such panel.
        metrics: the run's metrics.json on this split, or None.
        output: index.html.
        settings: how many and which images, and how they are drawn.

    Raises:
        ValueError: artifacts of kinds without a panel, of different classes, images, sizes or runs, without
            predictions among them, or metrics of another run.
    """
    with opened(images, artifacts, ground_truth) as sources:
        numbers = None if metrics is None else _checked_metrics(metrics, sources)
        chosen = _chosen(sources, settings)
        rows = [
            _row(sources, i, settings) for i in step.progress(chosen.tolist(), total=len(chosen), label="images drawn")
        ]
        page = render_page(TEMPLATE, head=_header(sources, numbers, settings), rows=rows, settings=settings)
    write_text(output, page)
    log.info("%s: %d of %d images, %.1f MB", output, len(rows), len(sources.images), len(page) / 1e6)


def _checked_metrics(path: Path, sources: Sources) -> dict[str, Any]:
    metrics = read_json(path)
    found = metrics.get("run"), metrics.get("split")
    expected = sources.instances.header["run"], sources.images.header["split"]
    if found != expected:
        raise ValueError(f"{path} is of run and split {found}, the predictions are of {expected}; evaluate them again")
    return metrics


def _chosen(sources: Sources, settings: GallerySettings) -> np.ndarray:
    """Positions in the images of the images to show, in the order of the rows."""
    if settings.choice == "even":
        return evenly(len(sources.images), settings.images)
    quality = [
        prediction_quality(sources.instances.find(image), sources.ground_truth.find(image))
        for image in step.progress(sources.images.ids, total=len(sources.images), label="images compared")
    ]
    return by_quality(quality, settings.images, best=settings.choice == "best")


def _row(sources: Sources, position: int, settings: GallerySettings) -> dict[str, Any]:
    """One image's row for the template."""
    listed = sources.images[position]
    full = load_rgb(listed, sources.images.header["root"])
    rgb = resize(full, *scaled_size(*full.shape[:2], settings.longer_side))
    records = [artifact.find(listed.image) for artifact in sources.artifacts]
    ground_truth = sources.ground_truth.find(listed.image)
    _check_sizes([*records, *([ground_truth] if ground_truth.annotated else [])], full.shape[:2])
    kinds = [artifact.kind for artifact in sources.artifacts]
    view = View(
        rgb=rgb,
        shape=full.shape[:2],
        tags=listed.tags,
        classes=sources.classes,
        settings=settings,
        ground_truth=ground_truth,
        records=dict(zip(reversed(kinds), reversed(records), strict=True)),  # the first of each kind
    )
    start = Panel("image", rgb, [Note(f"{full.shape[1]} x {full.shape[0]} pixels")])
    panels = [start, *_panels(sources, records, view), *ground_truth_panels(view)]
    return {
        "image": listed.image,
        "tags": [sources.classes[label] for label in np.flatnonzero(listed.tags)],
        "negative": listed.is_negative,
        "panels": [_encoded(panel, settings) for panel in panels],
    }


def _panels(sources: Sources, records: list[Any], view: View) -> Iterator[Panel]:
    """The panels of all artifacts in their order; those of neighbours of one kind alternate, to be compared."""
    shown = zip(sources.artifacts, records, strict=True)
    for kind, neighbours in itertools.groupby(shown, key=lambda pair: pair[0].kind):
        rows = [PANELS[kind](view, record, artifact.header) for artifact, record in neighbours]
        yield from (panel for beside in itertools.zip_longest(*rows) for panel in beside if panel is not None)


def _check_sizes(records: list[Any], size: tuple[int, int]) -> None:
    """Raise ValueError where a record has not the image's size (height, width)."""
    for record in records:
        for field in MAPS:
            found = getattr(record, field, None)
            if isinstance(found, np.ndarray) and found.ndim == 2 and found.shape != size:
                height, width = found.shape
                raise ValueError(
                    f"image {record.image!r} has {size[0]}x{size[1]} pixels, its {record.KIND} have "
                    f"{height}x{width}; remake them from the same images"
                )


def _encoded(panel: Panel, settings: GallerySettings) -> dict[str, Any]:
    """A panel for the template, its image compressed."""
    height, width = panel.image.shape[:2]
    uri = jpeg_uri(panel.image, quality=settings.jpeg_quality)
    return {"title": panel.title, "notes": panel.notes, "uri": uri, "height": height, "width": width}


def _header(sources: Sources, metrics: dict[str, Any] | None, settings: GallerySettings) -> dict[str, Any]:
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
        "legend": legend([artifact.kind for artifact in sources.artifacts], settings),
        "measured": metrics["n_images"] if metrics else 0,
        "treatment": metrics["treatment"] if metrics else {},
        "metrics": _metric_rows(metrics) if metrics and metrics["n_images"] else [],
    }


def _named_sources(sources: Sources) -> list[str]:
    """What the run starts from, in words: artifacts that name their source or classifier."""
    named = []
    for artifact in sources.artifacts:
        header = artifact.header
        if "source" in header:
            named.append(f"{artifact.kind} {header['source']} ({header['supervision']})")
        elif "head" in header:
            named.append(f"{artifact.kind} {header['head']}")
    return named


def _metric_rows(metrics: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Preset and its numbers in percent as text, then those that need no preset, or are of boxes or painted masks."""
    masks = metrics["masks"]
    rows = [(f"preset {name}", masks[name]) for name in PRESETS if name in masks]
    rows.append(("average best overlap", {name: masks[name] for name in ("ABO", "MABO") if name in masks}))
    boxes = {f"AP50 ({preset})": metrics["boxes"][preset]["AP50"] for preset in BOX_PRESETS}
    rows.append(("boxes", boxes | {"CorLoc": metrics["corloc"]}))
    rows.append(("painted into one map", {"mIoU": metrics["semantic"]["mIoU"]}))
    return [(name, {key: "-" if v is None else f"{v:.1f}" for key, v in values.items()}) for name, values in rows]


if __name__ == "__main__":
    step.run(build_gallery)
