"""Step `build_gallery`: one page that shows what every stage of a run made of some pictures."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.core import step
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.files import read_json, write_text
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import Picture
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import Artifact, read
from stages.core.config.inspection import GallerySettings
from stages.core.pages import render_page
from stages.core.pictures import load_rgb, resize, scaled_size
from stages.inspection.choice import by_quality, evenly, prediction_quality
from stages.inspection.overlays import jpeg_uri
from stages.inspection.panels import (
    Note,
    Panel,
    clusters_panel,
    cue_panels,
    predictions_panel,
    proposals_panel,
    truth_panel,
)

log = logging.getLogger(__name__)
TEMPLATE = Path(__file__).with_name("gallery.html.jinja")
PRESETS = ("voc", "cim", "sds", "coco")  # order of the header's numbers


@dataclass(frozen=True)
class Sources:
    """The artifacts of a run on a split, open for reading; no cluster labels for methods without.

    `refined` are instances of the run's Mask R-CNN, None for runs without.
    """

    images: Artifact[Picture]
    proposals: Artifact[Proposals]
    cues: Artifact[Cues]
    cluster_labels: Artifact[ClusterLabels] | None
    instances: Artifact[Instances]
    refined: Artifact[Instances] | None
    ground_truth: Artifact[GroundTruth]

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.images.header["classes"]

    def check(self) -> None:
        """Raise ValueError where an artifact has other classes or lacks a picture."""
        others = (self.proposals, self.cues, self.cluster_labels, self.instances, self.refined, self.ground_truth)
        for other in (artifact for artifact in others if artifact is not None):
            if other.header.get("classes", self.classes) != self.classes:
                raise ValueError(
                    f"{other.path} has the classes {other.header['classes']}, but {self.images.path} has "
                    f"{self.classes}; make both from the same images.h5"
                )
            missing = set(self.images.ids) - set(other.ids)
            if missing:
                raise ValueError(
                    f"{other.path} lacks {len(missing)} of the {len(self.images)} pictures of {self.images.path}, such "
                    f"as {min(missing)!r}; make both from the same split's images.h5"
                )


def build_gallery(
    *,
    images: Path,
    proposals: Path,
    cues: Path,
    cluster_labels: Path | None,
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
        proposals: the run's proposals.
        cues: the run's cues.
        cluster_labels: the run's AGPL labels, or None for methods without.
        instances: the run's predictions.
        refined: those of the Mask R-CNN that was trained on the run's masks, or None.
        ground_truth: annotated instances; pictures whose masks are not known have no such panel.
        metrics: the run's metrics.json on this split, or None.
        output: index.html.
        settings: how many and which pictures, and how they are drawn.

    Raises:
        ValueError: artifacts of different classes or pictures, or metrics of another run.
    """
    with _opened(images, proposals, cues, cluster_labels, instances, refined, ground_truth) as sources:
        sources.check()
        numbers = None if metrics is None else _checked_metrics(metrics, sources)
        chosen = _chosen(sources, settings)
        rows = [
            _row(sources, i, settings)
            for i in step.progress(chosen.tolist(), total=len(chosen), label="pictures drawn")
        ]
        page = render_page(TEMPLATE, head=_header(sources, numbers), rows=rows, settings=settings)
    write_text(output, page)
    log.info("%s: %d of %d pictures, %.1f MB", output, len(rows), len(sources.images), len(page) / 1e6)


@contextlib.contextmanager
def _opened(
    images: Path, proposals: Path, cues: Path, cluster_labels: Path | None, instances: Path, refined: Path | None,
    ground_truth: Path,
) -> Iterator[Sources]:  # fmt: skip
    with contextlib.ExitStack() as stack:
        yield Sources(
            images=stack.enter_context(read(images, Picture)),
            proposals=stack.enter_context(read(proposals, Proposals)),
            cues=stack.enter_context(read(cues, Cues)),
            cluster_labels=cluster_labels and stack.enter_context(read(cluster_labels, ClusterLabels)),
            instances=stack.enter_context(read(instances, Instances)),
            refined=refined and stack.enter_context(read(refined, Instances)),
            ground_truth=stack.enter_context(read(ground_truth, GroundTruth)),
        )


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
    picture = record.picture
    full = load_rgb(record, sources.images.header["root"])
    rgb = resize(full, *scaled_size(*full.shape[:2], settings.longer_side))
    proposals, instances = sources.proposals.find(picture), sources.instances.find(picture)
    cues, truth = sources.cues.find(picture), sources.ground_truth.find(picture)
    refined = [] if sources.refined is None else [sources.refined.find(picture)]
    for other in (proposals, instances, *refined, *([truth] if truth.annotated else [])):
        if other.atoms.shape != full.shape[:2]:
            raise ValueError(
                f"picture {picture!r} has {full.shape[0]}x{full.shape[1]} pixels, its {other.KIND} have "
                f"{other.atoms.shape[0]}x{other.atoms.shape[1]}; remake them from the same pictures"
            )
    common = {"classes": sources.classes, "settings": settings}
    tags = [sources.classes[label] for label in np.flatnonzero(record.tags)]
    panels = [
        Panel("picture", rgb, [Note(f"{full.shape[1]} x {full.shape[0]} pixels")]),
        proposals_panel(rgb, proposals, settings),
        *cue_panels(rgb, cues, record.tags, shape=full.shape[:2], **common),
    ]
    if sources.cluster_labels is not None:
        panels.append(clusters_panel(rgb, sources.cluster_labels.find(picture), proposals, **common))
    panels.append(predictions_panel(rgb, instances, truth, **common))
    panels += [predictions_panel(rgb, found, truth, title="Mask R-CNN", **common) for found in refined]
    if truth.annotated:
        panels.append(truth_panel(rgb, truth, proposals=proposals, instances=instances, **common))
    return {"picture": picture, "tags": tags, "panels": [_encoded(panel, settings) for panel in panels]}


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
        "source": sources.proposals.header["source"],
        "source_supervision": sources.proposals.header["supervision"],
        "head": sources.cues.header["head"],
        "has_labels": sources.cluster_labels is not None,
        "is_refined": sources.refined is not None,
        "measured": metrics["n_images"] if metrics else 0,
        "treatment": metrics["treatment"] if metrics else {},
        "metrics": _metric_rows(metrics) if metrics and metrics["n_images"] else [],
    }


def _metric_rows(metrics: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Preset and its numbers in percent as text, then the overlap that needs no preset."""
    masks = metrics["masks"]
    rows = [(f"preset {name}", masks[name]) for name in PRESETS if name in masks]
    rows.append(("average best overlap", {name: masks[name] for name in ("ABO", "MABO") if name in masks}))
    return [(name, {key: "-" if v is None else f"{v:.1f}" for key, v in values.items()}) for name, values in rows]


if __name__ == "__main__":
    step.run(build_gallery)
