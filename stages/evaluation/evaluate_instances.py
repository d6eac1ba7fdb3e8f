"""Step `evaluate_instances`: predicted against annotated instances, by all presets at once."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.files import write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.painting import painted
from stages.core.artifacts.semantic_maps import MAX_CLASSES
from stages.core.artifacts.storage import Artifact, read, read_optional
from stages.core.workflow import step
from stages.evaluation.average_precision import AveragePrecision, average_precision, preset
from stages.evaluation.best_overlap import (
    average_best_overlap,
    best_overlaps,
    class_average_best_overlap,
    concatenated,
    mean_average_best_overlap,
)
from stages.evaluation.boxes import RULES
from stages.evaluation.coco import CocoEvaluation, CocoSummary
from stages.evaluation.confusion import confusion_matrix
from stages.evaluation.curves import plot_precision_recall
from stages.evaluation.matching import Rule, counts_as_positive
from stages.evaluation.other_parts import Part, boxes_part, corloc_part, semantic_part
from stages.evaluation.overlaps import Overlaps, overlaps_with_ground_truth
from stages.evaluation.pairing import annotated_images, check_same_classes, check_same_images
from stages.evaluation.settings import (
    MASK_PRESETS,
    THRESHOLD_PRESETS,
    InstanceMetricsSettings,
    MaskMetricsSettings,
)
from stages.evaluation.wording import percent, shown, treatment, treatment_beside_masks

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class BestOverlaps:
    """Of all instances that count: best overlap with a prediction of its class (n,), and class (n,)."""

    best: np.ndarray
    classes: np.ndarray


def evaluate_instances(
    *,
    instances: Path,
    images: Path,
    ground_truth: Path,
    boxes: Path,
    output_metrics: Path,
    output_plot: Path,
    settings: InstanceMetricsSettings,
    training_instances: Path | None = None,
    training_boxes: Path | None = None,
) -> None:
    """Measure predicted instances against the annotated ones.

    Args:
        instances: instances.h5 of a run.
        images: images.h5 of the same split.
        ground_truth: ground_truth.h5 of the same split; images whose masks are not known are left out and counted.
        boxes: boxes.h5 of the same split; images whose boxes are not known are left out of the metrics of boxes.
        output_metrics: JSON; every number in percent, null where nothing is there to measure; `unmeasured` says why.
        output_plot: PNG with precision-recall curves.
        settings: thresholds, treatment of void and difficult, and what is painted.
        training_instances: instances.h5 of the run on the training split; None: CorLoc is not measured.
        training_boxes: boxes.h5 of the training split.

    Raises:
        ValueError: the artifacts differ in images or classes, or masks in size; scores that are not finite.
    """
    masks = settings.masks
    with (
        read(instances, Instances) as found,
        read(images, ImageRecord) as listing,
        read(ground_truth, GroundTruth) as annotations,
        read(boxes, AnnotatedBoxes) as annotated_boxes,
        read_optional(training_instances, Instances) as trained_on,
        read_optional(training_boxes, AnnotatedBoxes) as boxes_trained_on,
    ):
        classes = check_same_classes(found, annotations)
        check_same_classes(listing, annotations)
        check_same_images(found, annotations)
        check_same_images(listing, annotations)
        check_same_classes(found, annotated_boxes)
        check_same_images(found, annotated_boxes)
        overlaps, coco, confusion = _measured(found, annotations, settings, len(classes))
        threshold = settings.semantic.score_threshold
        parts = [
            boxes_part(found, annotated_boxes, len(classes)),
            corloc_part(trained_on, boxes_trained_on, run=found.header["run"], class_count=len(classes)),
            semantic_part(confusion, score_threshold=threshold, class_count=len(classes)),
        ]
        about = _about(found, listing, annotations, overlaps, settings)
        read_too = {"boxes": annotated_boxes, "training_instances": trained_on, "training_boxes": boxes_trained_on}
        about["inputs"] |= {name: one.fingerprint for name, one in read_too.items() if one is not None}
        best = _best_overlaps(overlaps, masks)
    rules = {name: preset(name, void=masks.void, difficult=masks.difficult) for name in THRESHOLD_PRESETS}
    results = {
        name: average_precision(overlaps, class_count=len(classes), thresholds=masks.thresholds, rule=rule)
        for name, rule in rules.items()
    }
    metrics = about | {
        "presets": {name: dataclasses.asdict(rule) for name, rule in (rules | {"coco": preset("coco")}).items()},
        "box_presets": {name: dataclasses.asdict(rule) for name, rule in RULES.items()},
        "masks": _overall(results, coco, best, masks, len(classes)),
        **_joined([part.overall for part in parts]),
        "unmeasured": _joined([part.unmeasured for part in parts]),
        "per_class": _with_parts(_per_class(results, coco, best, masks, classes), parts),
    }
    write_json(output_metrics, metrics)
    title = f"{about['run']} on {about['dataset']} {about['split']}, supervision: {about['supervision']}"
    plot_precision_recall(output_plot, results=results, classes=classes, settings=masks, title=title)
    _report(metrics)


def _joined(mappings: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for mapping in mappings for key, value in mapping.items()}


def _with_parts(per_class: dict[str, dict[str, Any]], parts: list[Part]) -> dict[str, dict[str, Any]]:
    """Each class's numbers of masks, with those of the other parts behind them."""
    return {
        label: numbers | _joined([part.per_class[i] for part in parts])
        for i, (label, numbers) in enumerate(per_class.items())
    }


def _measured(
    found: Artifact[Instances], ground_truth: Artifact[GroundTruth], settings: InstanceMetricsSettings, class_count: int
) -> tuple[list[Overlaps], CocoSummary, np.ndarray]:
    """Overlaps of every image whose masks are known, COCO's own numbers, and the confusion of painted pixels.

    The last is (C + 1, C + 1) int64, annotated by painted class, background first.
    """
    known, void = annotated_images(ground_truth), settings.masks.void
    coco = CocoEvaluation(class_count)
    confusion = np.zeros((class_count + 1, class_count + 1), np.int64)
    overlaps = []
    for image in step.progress(known, total=len(known), label="images measured"):
        predicted, annotated = found.find(image), ground_truth.find(image)
        overlaps.append(overlaps_with_ground_truth(predicted, annotated, void=void))
        coco.add(predicted, annotated, void=void)
        if class_count <= MAX_CLASSES:
            labels = painted(predicted, score_threshold=settings.semantic.score_threshold)
            confusion += confusion_matrix(annotated.semantic_map, labels, class_count)[:, :-1]
    return overlaps, coco.summary(), confusion


def _about(
    found: Artifact[Instances],
    images: Artifact[ImageRecord],
    ground_truth: Artifact[GroundTruth],
    overlaps: list[Overlaps],
    settings: InstanceMetricsSettings,
) -> dict[str, Any]:
    """What was measured: run, data, supervision, counts and treatment of unusual annotations."""
    rule = _counting(settings.masks)
    return {
        "run": found.header["run"],
        "method": found.header["method"],
        "supervision": found.header["supervision"],
        "dataset": images.header["name"],
        "split": images.header["split"],
        "units": "percent",
        "n_images": len(overlaps),
        "n_images_left_out": len(ground_truth) - len(overlaps),
        "n_instances": sum(int(counts_as_positive(o, rule).sum()) for o in overlaps),
        "n_crowds": sum(int(o.crowd.sum()) for o in overlaps),
        "n_difficult": sum(int(o.difficult.sum()) for o in overlaps),
        "n_predictions": sum(len(o.scores) for o in overlaps),
        "treatment": treatment(settings.masks) | treatment_beside_masks(settings.semantic.score_threshold),
        "inputs": {"instances": found.fingerprint, "ground_truth": ground_truth.fingerprint},
    }


def _counting(settings: MaskMetricsSettings) -> Rule:
    """A rule that tells which instances count; in that all presets agree."""
    return preset("voc", void=settings.void, difficult=settings.difficult)


def _best_overlaps(overlaps: list[Overlaps], settings: MaskMetricsSettings) -> BestOverlaps:
    counting = [counts_as_positive(o, _counting(settings)) for o in overlaps]
    best = concatenated(best_overlaps(o)[c] for o, c in zip(overlaps, counting, strict=True))
    labels = concatenated((o.ground_truth_classes[c] for o, c in zip(overlaps, counting, strict=True)), np.int64)
    return BestOverlaps(best, labels)


def metric_name(prefix: str, threshold: float) -> str:
    """Name of an average precision at a threshold: 0.5 gives AP50 or mAP50."""
    return f"{prefix}{round(100 * threshold)}"


def _overall(
    results: dict[str, AveragePrecision],
    coco: CocoSummary,
    best: BestOverlaps,
    settings: MaskMetricsSettings,
    class_count: int,
) -> dict[str, Any]:
    masks: dict[str, Any] = {
        name: {
            metric_name("mAP", threshold): percent(mean)
            for threshold, mean in zip(settings.thresholds, result.mean, strict=True)
        }
        for name, result in results.items()
    }
    masks["coco"] = {name: percent(value) for name, value in coco.overall.items()}
    masks["ABO"] = percent(average_best_overlap(best.best))
    masks["MABO"] = percent(mean_average_best_overlap(best.best, best.classes, class_count))
    return masks


def _per_class(
    results: dict[str, AveragePrecision],
    coco: CocoSummary,
    best: BestOverlaps,
    settings: MaskMetricsSettings,
    classes: list[str],
) -> dict[str, Any]:
    overlap = class_average_best_overlap(best.best, best.classes, len(classes))
    return {
        label: {
            "n_instances": int((best.classes == i).sum()),
            "ABO": percent(overlap[i]),
            "coco": {name: percent(value) for name, value in coco.per_class[i].items()},
            **{
                name: {
                    metric_name("AP", threshold): percent(value)
                    for threshold, value in zip(settings.thresholds, result.per_class[i], strict=True)
                }
                for name, result in results.items()
            },
        }
        for i, label in enumerate(classes)
    }


def _report(metrics: dict[str, Any]) -> None:
    """Log the numbers; each names its preset."""
    log.info(
        "%d images with %d instances measured, %d images without known masks left out",
        metrics["n_images"], metrics["n_instances"], metrics["n_images_left_out"],
    )  # fmt: skip
    if not metrics["n_images"]:
        log.warning("no image of this split has known masks: there are predictions, but nothing to measure them by")
    masks = metrics["masks"]
    for name in MASK_PRESETS:
        log.info("preset %s: %s", name, ", ".join(f"{key} {shown(value)}" for key, value in masks[name].items()))
    log.info("ABO over instances %s, over classes %s", shown(masks["ABO"]), shown(masks["MABO"]))
    for name in RULES:
        log.info("boxes, preset %s: AP50 %s", name, shown(metrics["boxes"][name]["AP50"]))
    log.info("CorLoc %s, mIoU %s", shown(metrics["corloc"]), shown(metrics["semantic"]["mIoU"]))
    for name, reason in metrics["unmeasured"].items():
        log.info("%s not measured: %s", name, reason)


if __name__ == "__main__":
    step.run(evaluate_instances)
