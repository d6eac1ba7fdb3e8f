"""Step `report_cues`: how well a classifier tells the classes of an image, and points at their instances."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.cues import Cues
from stages.core.artifacts.files import write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord, all_tags
from stages.core.artifacts.storage import Artifact, read
from stages.core.workflow import step
from stages.evaluation.average_precision import mean_of_known
from stages.evaluation.pairing import annotated_images, check_same_classes, check_same_images
from stages.evaluation.wording import percent, shown
from stages.ops.precision import interpolated_average

log = logging.getLogger(__name__)
NO_CLASSIFIER = "points"  # supervision of cues that people set; they hold no class scores


@dataclass(frozen=True)
class Pointing:
    """What the peaks of an image's tagged classes hit; peaks in a crowd of their class are left out.

    Attributes:
        peak_classes: (P,); peak_hits: (P,) bool, the peak lies in an instance of its class.
        instance_classes: (G,); instance_hits: (G,) bool, a peak of its class lies in the instance.
        game: for each class that the image has an instance of: whether its strongest peak is a hit.
    """

    peak_classes: np.ndarray
    peak_hits: np.ndarray
    instance_classes: np.ndarray
    instance_hits: np.ndarray
    game: dict[int, bool]


def report_cues(*, images: Path, cues: Path, output: Path, ground_truth: Path | None = None) -> None:
    """Report classification mAP against the tags and, where masks are known, what the peaks hit.

    AP of a class is the area below the falling envelope of precision over recall (VOC 2010 and later), over the
    images that have tags; equal scores keep the images' order.

    Args:
        images: images.h5 of a split.
        cues: cues of the same split.
        output: JSON; shares in percent, null where there is nothing to measure.
        ground_truth: ground_truth.h5 of the same split, or None: no pointing accuracy.

    Raises:
        ValueError: the artifacts differ in images or classes.
    """
    with read(images, ImageRecord) as listing, read(cues, Cues) as found:
        classes = check_same_classes(listing, found)
        check_same_images(listing, found)
        report = {
            "head": found.header["head"],
            "supervision": found.header["supervision"],
            "dataset": listing.header["name"],
            "split": listing.header["split"],
            "units": "percent",
            "n_images": len(listing),
            "classification": _classification(listing, found, classes),
            "pointing": None,
            "inputs": {"images": listing.fingerprint, "cues": found.fingerprint},
        }
        if ground_truth is not None:
            with read(ground_truth, GroundTruth) as annotations:
                check_same_classes(found, annotations)
                check_same_images(found, annotations)
                report["pointing"] = _pointing(listing, found, annotations, classes)
                report["inputs"]["ground_truth"] = annotations.fingerprint
    write_json(output, report)
    _report(report)


def _classification(images: Artifact[ImageRecord], found: Artifact[Cues], classes: list[str]) -> dict[str, Any] | None:
    if found.header["supervision"] == NO_CLASSIFIER:
        return None
    tags, looked_at = all_tags(images), images.column("looked_at")
    scores = _stacked([found.field(found.index(image), "class_scores") for image in images.ids], len(classes))
    ap = classification_average_precision(scores[looked_at], tags[looked_at])
    return {
        "preset": "area under the interpolated precision-recall curve",
        "mAP": percent(float(mean_of_known(ap))),
        "n_images": int(looked_at.sum()),
        "n_images_negative": int((looked_at & ~tags.any(axis=1)).sum()),
        "n_images_unknown": int((~looked_at).sum()),
        "per_class": {
            name: {"AP": percent(ap[i]), "n_tagged": int(tags[:, i].sum())} for i, name in enumerate(classes)
        },
    }


def _stacked(rows: list[np.ndarray], width: int) -> np.ndarray:
    return np.stack(rows) if rows else np.zeros((0, width))


def classification_average_precision(scores: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Area AP of each class, (C,), from scores (B, C) and tags (B, C) bool; nan for a class without an image."""
    order = np.argsort(-scores, axis=0, kind="stable")
    hits = np.take_along_axis(tags, order, axis=0).cumsum(axis=0)
    positives = tags.sum(axis=0)
    precision = hits / np.arange(1, len(tags) + 1)[:, None]
    ap = interpolated_average(hits / np.maximum(positives, 1), precision, "area")
    return np.where(positives > 0, ap, np.nan)


def _pointing(
    images: Artifact[ImageRecord], found: Artifact[Cues], ground_truth: Artifact[GroundTruth], classes: list[str]
) -> dict[str, Any]:
    known = annotated_images(ground_truth)
    parts = [
        pointing_of_image(found.find(image), images.field(images.index(image), "tags"), ground_truth.find(image))
        for image in step.progress(known, total=len(known), label="images measured")
    ]
    peaks = _shares(parts, "peak_classes", "peak_hits", len(classes))
    instances = _shares(parts, "instance_classes", "instance_hits", len(classes))
    game_classes = np.array([label for part in parts for label in part.game], np.int64)
    game_hits = np.array([hit for part in parts for hit in part.game.values()], bool)
    game = _share_by_class(game_classes, game_hits, len(classes))
    return {
        "about": "strongest_peak_hits: share of (image, class) pairs, mean over classes (pointing game); "
        "peaks_in_instances: share of the peaks of tagged classes that lie in an instance of their class; "
        "instances_hit: share of instances that hold a peak of their class",
        "n_images": len(known),
        "n_images_left_out": len(ground_truth) - len(known),
        "n_peaks": sum(len(part.peak_hits) for part in parts),
        "n_instances": sum(len(part.instance_hits) for part in parts),
        "strongest_peak_hits": percent(float(mean_of_known(game))),
        "peaks_in_instances": percent(_overall(parts, "peak_hits")),
        "instances_hit": percent(_overall(parts, "instance_hits")),
        "per_class": {
            name: {
                "strongest_peak_hits": percent(game[i]),
                "peaks_in_instances": percent(peaks[i]),
                "instances_hit": percent(instances[i]),
            }
            for i, name in enumerate(classes)
        },
    }


def pointing_of_image(cues: Cues, tags: np.ndarray, ground_truth: GroundTruth) -> Pointing:
    """What the peaks of an image hit. Raises ValueError naming the image where a peak lies outside it."""
    own = np.flatnonzero(tags[cues.peak_classes])
    try:
        inside = ground_truth.regions.holding(cues.peaks[own])
    except ValueError as error:
        raise ValueError(f"image {cues.image!r}: cues and ground truth do not fit: {error}") from error
    inside &= cues.peak_classes[own][:, None] == ground_truth.classes
    hits = inside[:, ~ground_truth.crowd].any(axis=1)
    counted = hits | ~inside[:, ground_truth.crowd].any(axis=1)
    labels, scores = cues.peak_classes[own], cues.peak_scores[own]
    game = {}
    for label in np.unique(ground_truth.classes[~ground_truth.crowd]):
        peaks = np.flatnonzero(labels == label)
        if not len(peaks):
            game[int(label)] = False
            continue
        strongest = peaks[scores[peaks].argmax()]
        if counted[strongest]:
            game[int(label)] = bool(hits[strongest])
    return Pointing(
        peak_classes=labels[counted],
        peak_hits=hits[counted],
        instance_classes=ground_truth.classes[~ground_truth.crowd],
        instance_hits=inside[:, ~ground_truth.crowd].any(axis=0),
        game=game,
    )


def _share_by_class(labels: np.ndarray, hits: np.ndarray, class_count: int) -> np.ndarray:
    """Share of hits of each class, (C,); nan where there is nothing."""
    totals = np.bincount(labels, minlength=class_count)
    return np.where(totals > 0, np.bincount(labels[hits], minlength=class_count) / np.maximum(totals, 1), np.nan)


def _shares(parts: Sequence[Pointing], labels: str, hits: str, class_count: int) -> np.ndarray:
    if not parts:
        return np.full(class_count, np.nan)
    return _share_by_class(
        np.concatenate([getattr(part, labels) for part in parts]),
        np.concatenate([getattr(part, hits) for part in parts]),
        class_count,
    )


def _overall(parts: Sequence[Pointing], hits: str) -> float:
    found = [hit for part in parts for hit in getattr(part, hits)]
    return float(np.mean(found)) if found else float("nan")


def _report(report: dict[str, Any]) -> None:
    classification, pointing = report["classification"], report["pointing"]
    if classification:
        log.info(
            "head %s: classification mAP (area AP against tags) %s on %d tagged images",
            report["head"], shown(classification["mAP"]), classification["n_images"],
        )  # fmt: skip
    if pointing:
        log.info(
            "head %s: strongest peak hits %s (mean over classes), peaks in an instance %s, instances with a peak %s",
            report["head"], shown(pointing["strongest_peak_hits"]), shown(pointing["peaks_in_instances"]),
            shown(pointing["instances_hit"]),
        )  # fmt: skip


if __name__ == "__main__":
    step.run(report_cues)
