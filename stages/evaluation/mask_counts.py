"""Counts of masks that meet an annotated instance, that meet none, and of instances that none meets."""

from collections.abc import Callable
from typing import Any

import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.storage import Artifact
from stages.core.workflow import step
from stages.evaluation.average_precision import preset
from stages.evaluation.matching import match_predictions
from stages.evaluation.overlaps import overlaps_with_ground_truth
from stages.evaluation.pairing import annotated_images
from stages.evaluation.settings import PseudoMaskReportSettings
from stages.evaluation.wording import percent

KINDS = ("true_positives", "false_positives", "ignored", "misses")


def count_masks(
    masks_of: Callable[[str], Instances | None], ground_truth: Artifact[GroundTruth],
    settings: PseudoMaskReportSettings, *, class_count: int,
) -> tuple[np.ndarray, list[str]]:  # fmt: skip
    """Counts (thresholds, classes, kinds) int64, kinds as in KINDS; and the ids of the images measured.

    Each instance is met once, by the first mask of its class, best score first, that overlaps it most among those
    still free; a further one is a false positive. A mask in a crowd (or in a difficult instance, by setting) is
    ignored.

    Args:
        masks_of: the masks of an image, None where it was left out: its instances are misses.
        ground_truth: annotated instances.
        settings: the overlaps that make a mask right, and treatment of void and difficult.
        class_count: C.
    """
    rule = preset("coco", void=settings.void, difficult=settings.difficult)
    thresholds, known = np.array(settings.thresholds), annotated_images(ground_truth)
    counts = np.zeros((len(thresholds), class_count, len(KINDS)), np.int64)
    for image in step.progress(known, total=len(known), label="images measured"):
        annotated = ground_truth.find(image)
        expected = ~annotated.crowd & ~(annotated.difficult & (settings.difficult == "ignore"))
        instances = np.bincount(annotated.classes[expected], minlength=class_count)
        counts[:, :, KINDS.index("misses")] += instances
        masks = masks_of(image)
        if masks is None:
            continue
        overlaps = overlaps_with_ground_truth(masks, annotated, void=settings.void)
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


def shares_of(counts: np.ndarray, classes: list[str], settings: PseudoMaskReportSettings) -> dict[str, Any]:
    """Counts of `count_masks` by threshold and class, with precision and recall in percent."""
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
