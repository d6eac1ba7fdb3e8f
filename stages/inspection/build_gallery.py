"""Step `build_gallery`: a page on which people look at every image of a split and what each stage made of it."""

import hashlib
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.metrics import box_presets, mask_presets, read_metrics
from stages.core.images.loading import load_rgb
from stages.core.workflow import step
from stages.core.workflow.ahead import in_order
from stages.inspection.gallery.choice import by_quality, evenly, prediction_quality
from stages.inspection.gallery.files import GalleryFiles
from stages.inspection.gallery.kinds import LAYERS, legend
from stages.inspection.gallery.layers import ground_truth_layers, run_layers
from stages.inspection.gallery.scene import Layer, Scene
from stages.inspection.gallery.sources import Sources, opened
from stages.inspection.gallery.summary import summary
from stages.inspection.settings import GallerySettings
from stages.ops import colours
from stages.ops.drawing import jpeg
from stages.ops.errors import KINDS, MEANINGS
from stages.ops.resize import resize, scaled_size

log = logging.getLogger(__name__)
MAPS = ("atoms", "labels")  # fields of records that have the image's size


def build_gallery(
    *,
    images: Path,
    artifacts: list[Path],
    ground_truth: Path,
    metrics: Path | None,
    output: Path,
    output_data: Path,
    threads: int,
    settings: GallerySettings,
) -> None:
    """Write a page of rows, an image each, and beside it what is drawn when a row is looked at.

    A row has a panel or more for each artifact. Predictions of one run and of its parts stand together with what they
    are made from; predictions alone, of several runs, make a page on which runs are compared.

    Args:
        images: images.h5 of a split; all other artifacts are of the same split.
        artifacts: what is shown, in the order of the panels: what a run takes from upstream, what it makes on the way,
            and its predictions; kinds as in `stages.inspection.gallery.kinds`. Or the predictions of several runs.
        ground_truth: annotated instances; images whose masks are not known have no such panel.
        metrics: the run's metrics.json on this split, or None.
        output: index.html.
        output_data: folder of the images' data; what was there is removed. Empty where the page holds all itself.
        threads: images in work at a time.
        settings: how many and which images, and how much of each.

    Raises:
        ValueError: artifacts of kinds without a panel, of different classes, images, sizes or runs, without
            predictions among them, or metrics of another run.
    """
    with opened(images, artifacts, ground_truth) as sources:
        numbers = None if metrics is None else _checked_metrics(metrics, sources)
        chosen = _chosen(sources, settings)
        files = GalleryFiles(output, output_data, single_file=settings.single_file)
        made = in_order(lambda image: _add(files, image, sources, settings), _read(sources, chosen), threads)
        rows = list(step.progress(made, total=len(chosen), label="images"))
        size = files.finish(_head(sources, numbers, rows, settings), rows)
    log.info("%s: %d of %d images, %.1f MB", output, len(rows), len(sources.images), size / 1e6)


def _checked_metrics(path: Path, sources: Sources) -> dict[str, Any]:
    metrics = read_metrics(path, also=("treatment",))
    found = metrics.get("run"), metrics.get("split")
    expected = sources.instances.header["run"], sources.images.header["split"]
    if found != expected:
        raise ValueError(f"{path} is of run and split {found}, the predictions are of {expected}; evaluate them again")
    return metrics


def _chosen(sources: Sources, settings: GallerySettings) -> np.ndarray:
    """Positions in the images of the images to show, in the order of the rows."""
    wanted = settings.images or len(sources.images)
    if settings.choice == "even" or wanted >= len(sources.images):
        return evenly(len(sources.images), wanted)
    quality = [
        prediction_quality(sources.instances.find(image), sources.ground_truth.find(image))
        for image in step.progress(sources.images.ids, total=len(sources.images), label="images compared")
    ]
    return by_quality(quality, wanted, best=settings.choice == "best")


class _Image(NamedTuple):
    """What is known of an image: its number on the page, and its record in each artifact."""

    number: int
    listed: ImageRecord
    records: list[Any]
    ground_truth: GroundTruth


def _read(sources: Sources, chosen: np.ndarray) -> Iterator[_Image]:
    """The records of the images to show; files are read by one thread."""
    for number, i in enumerate(chosen.tolist()):
        listed = sources.images[i]
        records = [artifact.find(listed.image) for artifact in sources.artifacts]
        yield _Image(number, listed, records, sources.ground_truth.find(listed.image))


def _add(files: GalleryFiles, image: _Image, sources: Sources, settings: GallerySettings) -> dict[str, Any]:
    """Write one image's files; returns its row."""
    number, listed, records, ground_truth = image
    full = load_rgb(listed, sources.images.header["root"])
    shape = full.shape[:2]
    _check_sizes([*records, *([ground_truth] if ground_truth.annotated else [])], shape)
    kinds = [artifact.kind for artifact in sources.artifacts]
    scene = Scene(
        shape=shape,
        size=scaled_size(*shape, min(settings.longer_side, max(shape))),
        tags=listed.tags,
        classes=sources.classes,
        settings=settings,
        ground_truth=ground_truth,
        records=dict(zip(reversed(kinds), reversed(records), strict=True)),  # the first of each kind
    )
    picture = resize(full, *scene.size)
    thumbnail = resize(full, *scaled_size(*shape, min(settings.thumbnail_side, max(shape))))
    files.add(
        number,
        [*_layers(sources, records, scene), *ground_truth_layers(scene)],
        thumbnail=jpeg(thumbnail, quality=settings.jpeg_quality, photograph=True),
        picture=jpeg(picture, quality=settings.jpeg_quality, photograph=True),
    )
    own, *beside = [record for record in records if record.KIND == Instances.KIND]
    return {
        "id": listed.image,
        "path": str(Path(sources.images.header["root"]) / listed.path) if listed.path else "",
        "h": shape[0],
        "w": shape[1],
        "t": np.flatnonzero(listed.tags).tolist(),
        "state": "negative" if listed.is_negative else "tagged" if listed.tags.any() else "unknown",
        **summary(scene, own, beside),
    }


def _layers(sources: Sources, records: list[Any], scene: Scene) -> Iterator[Layer]:
    """The layers of all artifacts in their order; those of neighbours of one kind alternate, to be compared."""
    shown = zip(sources.artifacts, records, strict=True)
    for kind, neighbours in itertools.groupby(shown, key=lambda pair: pair[0].kind):
        drawn_by = run_layers if sources.joint else LAYERS[kind]
        rows = [drawn_by(scene, record, artifact.header) for artifact, record in neighbours]
        yield from (layer for beside in itertools.zip_longest(*rows) for layer in beside if layer is not None)


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


def _head(
    sources: Sources, metrics: dict[str, Any] | None, rows: list[dict[str, Any]], settings: GallerySettings
) -> dict[str, Any]:
    """What all rows share, for the template and for the script."""
    images, instances = sources.images.header, sources.instances.header
    runs = [artifact.header for artifact in sources.artifacts if artifact.kind == Instances.KIND]
    shown = runs if sources.joint else [instances]
    digest = hashlib.sha256(repr([artifact.fingerprint for artifact in sources.artifacts]).encode())
    return {
        "run": ", ".join(one["run"] for one in shown),
        "title": f"{len(shown)} runs" if sources.joint else instances["run"],
        "method": ", ".join(dict.fromkeys(one["method"] for one in shown)),
        "supervision": ", ".join(dict.fromkeys(one["supervision"] for one in shown)),
        "joint": sources.joint,
        "dataset": images["name"],
        "split": images["split"],
        "count": len(sources.images),
        "left_out": len(sources.images) - len(rows),
        "classes": sources.classes,
        "sources": _named_sources(sources),
        "legend": legend([artifact.kind for artifact in sources.artifacts], settings),
        "measured_images": any(row["g"] is not None for row in rows),
        "measured": metrics["n_images"] if metrics else 0,
        "treatment": metrics["treatment"] if metrics else {},
        "metrics": _metric_rows(metrics) if metrics and metrics["n_images"] else [],
        "headline": _headline(metrics) if metrics and metrics["n_images"] else {},
        "kinds": [{"name": name, "meaning": MEANINGS[name], "colour": colours.KINDS[name]} for name in KINDS],
        "beside": [one["run"] for one in runs[1:]],
        "score_threshold": settings.score_threshold,
        "opacity": settings.opacity,
        "fingerprint": digest.hexdigest()[:16],
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


def _headline(metrics: dict[str, Any]) -> dict[str, str]:
    """The numbers to see first, with their presets."""
    masks = metrics["masks"]
    found = {f"{name} (voc)": masks.get("voc", {}).get(name) for name in ("mAP25", "mAP50", "mAP75")}
    found |= {"AP (coco)": masks.get("coco", {}).get("AP"), "mIoU": metrics["semantic"]["mIoU"]}
    return {name: f"{value:.1f}" for name, value in found.items() if value is not None}


def _metric_rows(metrics: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Preset and its numbers in percent as text, then those that need no preset, or are of boxes or painted masks."""
    masks = metrics["masks"]
    rows = [(f"preset {name}", masks[name]) for name in mask_presets(metrics)]
    rows.append(("average best overlap", {name: masks[name] for name in ("ABO", "MABO") if name in masks}))
    boxes = {f"AP50 ({preset})": metrics["boxes"][preset]["AP50"] for preset in box_presets(metrics)}
    rows.append(("boxes", boxes | {"CorLoc": metrics["corloc"]}))
    rows.append(("painted into one map", {"mIoU": metrics["semantic"]["mIoU"]}))
    return [(name, {key: "-" if v is None else f"{v:.1f}" for key, v in values.items()}) for name, values in rows]


if __name__ == "__main__":
    step.run(build_gallery)
