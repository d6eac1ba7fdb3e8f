"""Average precision of instance masks by the rules of every benchmark in use; docs/metrics.md."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.evaluation.matching import Matches, Rule, counts_as_positive, match_predictions
from stages.evaluation.overlaps import Overlaps
from stages.ops.precision import interpolated_average

PRESETS = {
    # chainercv's eval_instance_segmentation_voc: BESTIE, IRNet.
    "voc": Rule(interpolation="area", match="best", strict=False, absent="nan", limit=None),
    # pycocotools with CIM's own mean over classes: CIM, boxlevelset, WISE.
    "cim": Rule(interpolation="coco101", match="free", strict=False, absent="zero", limit=100),
    # AP^r of Hariharan et al. 2014: SDS, BBTP, and by all signs PRM and Label-PEnet.
    "sds": Rule(interpolation="area", match="free", strict=True, absent="nan", limit=None),
    # pycocotools' COCOeval, area `all`.
    "coco": Rule(interpolation="coco101", match="free", strict=False, absent="nan", limit=100),
}
# COCO's .5:.05:.95, as pycocotools makes them.
COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)


def preset(
    name: str, *, void: Literal["background", "ignore"] = "background", difficult: Literal["count", "ignore"] = "count"
) -> Rule:
    """The rule of a preset with the given treatment of unlabelled pixels and difficult instances."""
    return dataclasses.replace(PRESETS[name], void=void, difficult=difficult)


@dataclass(frozen=True)
class Curve:
    """Recall and precision of a class after each prediction, best first: (n, T) float64 both, not interpolated."""

    recall: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of C classes at T thresholds, as a share (not percent).

    Attributes:
        per_class: (C, T) float64; classes without an instance hold nan or 0, as the rule says; all nan where no class
            has one.
        mean: (T,) float64, over the classes that are not nan; nan where all are.
        positives: (C,) int64, instances that count.
        curves: a curve for each class, None where it has no instance.
    """

    per_class: np.ndarray
    mean: np.ndarray
    positives: np.ndarray
    curves: list[Curve | None]


def average_precision(
    images: Iterable[Overlaps], *, class_count: int, thresholds: Iterable[float], rule: Rule
) -> AveragePrecision:
    """Average precision over all images.

    Predictions of a class are ordered over all images by falling score; equal scores keep the order of images and
    of predictions within one. `rule.void` takes effect earlier, in `overlaps_with_ground_truth`.
    """
    levels = np.asarray(list(thresholds), np.float64)
    matches: list[Matches] = []
    positives = np.zeros(class_count, np.int64)
    for overlaps in images:
        matches.append(match_predictions(overlaps, levels, rule))
        found = overlaps.ground_truth_classes[counts_as_positive(overlaps, rule)]
        positives += np.bincount(found, minlength=class_count)
    return average_of_matches(matches, positives, levels=len(levels), rule=rule)


def average_of_matches(matches: list[Matches], positives: np.ndarray, *, levels: int, rule: Rule) -> AveragePrecision:
    """Average precision from the matches of all images at T levels, and the instances (C,) that count."""
    class_count = len(positives)
    # A class without an instance beside others that have some is what the rule is about; with none at all nothing is
    # measured, and no rule makes a number of it.
    absent = 0.0 if rule.absent == "zero" and positives.any() else np.nan
    per_class = np.full((class_count, levels), absent)
    curves: list[Curve | None] = [None] * class_count
    grouped = _by_class(matches, class_count, levels)
    for label in np.flatnonzero(positives):
        curve = _curve(*grouped[label], positives[label])
        curves[label] = curve
        per_class[label] = interpolated_average(curve.recall, curve.precision, rule.interpolation)
    return AveragePrecision(per_class, mean_of_known(per_class), positives, curves)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis without nan; nan where nothing else is there."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _by_class(matches: list[Matches], class_count: int, levels: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Scores (n,), hits and ignored (n, T) of each class, in the order of images."""
    classes = np.concatenate([np.zeros(0, np.int64), *(m.classes for m in matches)])
    scores = np.concatenate([np.zeros(0), *(m.scores for m in matches)])
    hit = np.concatenate([np.zeros((0, levels), bool), *(m.hit for m in matches)])
    ignored = np.concatenate([np.zeros((0, levels), bool), *(m.ignored for m in matches)])
    own = [np.flatnonzero(classes == label) for label in range(class_count)]
    return [(scores[rows], hit[rows], ignored[rows]) for rows in own]


def _curve(scores: np.ndarray, hit: np.ndarray, ignored: np.ndarray, positives: int) -> Curve:
    order = np.argsort(-scores, kind="stable")
    true = np.cumsum(hit[order], axis=0)
    counted = np.cumsum(~ignored[order], axis=0)
    return Curve(recall=true / positives, precision=true / np.maximum(counted, 1))
