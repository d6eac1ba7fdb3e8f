"""Step `report_pseudo_masks`: how right the masks are that a refinement trains on."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from stages.core import step
from stages.core.artifacts.files import write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances, check_pseudo_masks
from stages.core.artifacts.storage import Artifact, read
from stages.core.config.evaluation import PseudoMaskReportSettings
from stages.evaluation.average_precision import preset
from stages.evaluation.matching import match_predictions
from stages.evaluation.overlaps import overlaps_with_truth
from stages.evaluation.pairing import annotated_pictures, check_same_classes
from stages.evaluation.wording import percent, shown, treatment

log = logging.getLogger(__name__)
KINDS = ("true_positives", "false_positives", "ignored", "misses")


def report_pseudo_masks(
    *, pseudo_masks: Path, ground_truth: Path, output: Path, settings: PseudoMaskReportSettings
) -> None:
    """Count pseudo masks that meet an annotated instance, that meet none, and instances that none meets.

    Each instance is met once, by the first pseudo mask of its class, best score first, that overlaps it most among
    those still free; a further one is a false positive. A pseudo mask in a crowd (or in a difficult instance, by
    setting) is ignored. Pictures that the pseudo masks leave out have none: their instances are misses.

    Args:
        pseudo_masks: pseudo masks of a split.
        ground_truth: ground_truth.h5 of the same split; pictures whose masks are not known are left out and counted.
        output: JSON; counts, and shares in percent, null where there is nothing to measure.
        settings: the overlaps that make a pseudo mask right, and treatment of void and difficult.

    Raises:
        ValueError: predictions that are no pseudo masks; other classes; the truth lacks a picture.
    """
    with read(pseudo_masks, Instances) as masks, read(ground_truth, GroundTruth) as truth:
        check_pseudo_masks(masks)
        classes = check_same_classes(masks, truth)
        strangers = sorted(set(masks.ids) - set(truth.ids))
        if strangers:
            raise ValueError(
                f"{truth.path} lacks {len(strangers)} of the {len(masks)} pictures of {masks.path}, such as "
                f"{strangers[:3]}; make both from the same split's images.h5"
            )
        counts, known = count_masks(masks, truth, settings, class_count=len(classes))
        report = _about(masks, truth, settings, known) | _numbers(counts, classes, settings)
    write_json(output, report)
    for threshold, found in report["thresholds"].items():
        log.info(
            "pseudo masks at IoU %s: %d right, %d wrong, %d instances missed; precision %s, recall %s",
            threshold, found["true_positives"], found["false_positives"], found["misses"], shown(found["precision"]),
            shown(found["recall"]),
        )  # fmt: skip


def count_masks(
    masks: Artifact[Instances], truth: Artifact[GroundTruth], settings: PseudoMaskReportSettings, *, class_count: int
) -> tuple[np.ndarray, list[str]]:
    """Counts (thresholds, classes, kinds) int64, kinds as in KINDS; and the ids of the pictures measured."""
    rule = preset("coco", void=settings.void, difficult=settings.difficult)
    thresholds, known, listed = np.array(settings.thresholds), annotated_pictures(truth), set(masks.ids)
    counts = np.zeros((len(thresholds), class_count, len(KINDS)), np.int64)
    for picture in step.progress(known, total=len(known), label="pictures measured"):
        annotated = truth.find(picture)
        expected = ~annotated.crowd & ~(annotated.difficult & (settings.difficult == "ignore"))
        instances = np.bincount(annotated.classes[expected], minlength=class_count)
        counts[:, :, KINDS.index("misses")] += instances
        if picture not in listed:
            continue
        overlaps = overlaps_with_truth(masks.find(picture), annotated, void=settings.void)
        matches = match_predictions(overlaps, thresholds, rule)
        wrong = ~matches.hit & ~matches.ignored
        for kind, of_kind in (
            ("true_positives", matches.hit),
            ("false_positives", wrong),
            ("ignored", matches.ignored),
        ):
            for i in range(len(thresholds)):
                counts[i, :, KINDS.index(kind)] += np.bincount(matches.classes[of_kind[:, i]], minlength=class_count)
    counts[:, :, KINDS.index("misses")] -= counts[:, :, KINDS.index("true_positives")]
    return counts, known


def _about(
    masks: Artifact[Instances], truth: Artifact[GroundTruth], settings: PseudoMaskReportSettings, known: list[str]
) -> dict[str, Any]:
    listed = set(masks.ids)
    empty = [picture for i, picture in enumerate(masks.ids) if not len(masks.field(i, "scores"))]
    return {
        "run": masks.header["run"],
        "supervision": masks.header["supervision"],
        "units": "percent",
        "n_images": len(known),
        "n_images_left_out": len(truth) - len(known),
        "n_images_without_pseudo_masks": len(set(known) - listed | set(known) & set(empty)),
        "made": masks.header["counts"],
        "treatment": treatment(settings),
        "inputs": {"pseudo_masks": masks.fingerprint, "ground_truth": truth.fingerprint},
    }


def _numbers(counts: np.ndarray, classes: list[str], settings: PseudoMaskReportSettings) -> dict[str, Any]:
    return {
        "thresholds": {
            f"{threshold:g}": _shares(of_threshold.sum(0))
            | {"per_class": {name: _shares(of_threshold[i]) for i, name in enumerate(classes)}}
            for threshold, of_threshold in zip(settings.thresholds, counts, strict=True)
        }
    }


def _shares(counts: np.ndarray) -> dict[str, Any]:
    """Counts by name, and precision and recall in percent."""
    named = {kind: int(count) for kind, count in zip(KINDS, counts, strict=True)}
    right, wrong, missed = named["true_positives"], named["false_positives"], named["misses"]
    shares = {"precision": (right, right + wrong), "recall": (right, right + missed)}
    return named | {name: percent(part / whole if whole else float("nan")) for name, (part, whole) in shares.items()}


if __name__ == "__main__":
    step.run(report_pseudo_masks)
