"""Which predictions of an image hit an instance: the rules in which the benchmarks differ, for all IoU at once."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.evaluation.overlaps import Overlaps


@dataclass(frozen=True)
class Rule:
    """How average precision is counted; docs/metrics.md.

    Attributes:
        interpolation: of precision over recall: `area` exact area below the falling envelope (VOC 2010 and later),
            `coco101` mean at 101 recalls, `voc07` mean at 11 recalls.
        match: `best`: a prediction looks at the instance that it overlaps most and is wrong if that is taken;
            `free`: it takes the instance that it overlaps most among those still free.
        strict: an overlap equal to the threshold is no hit.
        absent: AP of a class without an instance: `nan` (left out of the mean) or `zero`.
        limit: most predictions of an image and class, the best by score; None: all.
        void: whether unlabelled pixels count as `background`, or `ignore`.
        difficult: whether difficult instances `count`, or `ignore`: neither they nor matches with them count.
    """

    interpolation: Literal["area", "coco101", "voc07"]
    match: Literal["best", "free"]
    strict: bool
    absent: Literal["nan", "zero"]
    limit: int | None
    void: Literal["background", "ignore"] = "background"
    difficult: Literal["count", "ignore"] = "count"


@dataclass(frozen=True)
class Matches:
    """Predictions of an image, best first, and what each is at T thresholds.

    Attributes:
        scores: (D,); classes: (D,).
        hit: (D, T) bool, true positives.
        ignored: (D, T) bool, neither true nor false: matched to a crowd or to an ignored difficult instance.
    """

    scores: np.ndarray
    classes: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray


def counts_as_positive(overlaps: Overlaps, rule: Rule) -> np.ndarray:
    """Which instances a method is expected to find, (G,) bool."""
    return ~overlaps.crowd & ~(overlaps.difficult & (rule.difficult == "ignore"))


def match_predictions(overlaps: Overlaps, thresholds: np.ndarray, rule: Rule) -> Matches:
    """Match an image's predictions with its instances, class by class, at all thresholds (T,).

    Equal scores keep their order. A prediction that hits nothing is ignored where a crowd of its class covers it
    (pycocotools; for the other presets ours, as their data sets have no crowds).
    """
    order = best_first(overlaps, rule.limit)
    overlap = np.where(overlaps.classes[:, None] == overlaps.ground_truth_classes, overlaps.overlap, -1.0)[order]
    single, positive = ~overlaps.crowd, counts_as_positive(overlaps, rule)
    reached = _reached(overlap, thresholds, strict=rule.strict)
    match = _match_best if rule.match == "best" else _match_free
    hit, ignored = match(overlap[:, single], reached[:, single], positive[single])
    in_crowd = reached[:, overlaps.crowd].any(axis=1)
    return Matches(
        scores=overlaps.scores[order],
        classes=overlaps.classes[order],
        hit=hit,
        ignored=ignored | (in_crowd & ~hit),
    )


def best_first(overlaps: Overlaps, limit: int | None) -> np.ndarray:
    """Indices by falling score, ties in their order, at most `limit` of a class."""
    order = np.argsort(-overlaps.scores, kind="stable")
    if limit is None:
        return order
    kept = np.zeros(len(order), bool)
    for label in np.unique(overlaps.classes):
        kept[np.flatnonzero(overlaps.classes[order] == label)[:limit]] = True
    return order[kept]


def _reached(overlap: np.ndarray, thresholds: np.ndarray, *, strict: bool) -> np.ndarray:
    """Whether an overlap (D, G) suffices at each threshold, (D, G, T) bool."""
    if strict:
        return overlap[..., None] > thresholds
    # pycocotools' bound, so that rounding cannot spoil a perfect overlap at threshold 1.
    return overlap[..., None] >= np.minimum(thresholds, 1 - 1e-10)


def _match_best(overlap: np.ndarray, reached: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each prediction claims the instance that it overlaps most (the first of equals); the first claim is the hit."""
    detections, instances, thresholds = reached.shape
    if not instances:
        return np.zeros((detections, thresholds), bool), np.zeros((detections, thresholds), bool)
    looks_at = np.arange(instances) == overlap.argmax(axis=1)[:, None]
    claims = reached & looks_at[..., None]
    first = claims & (np.cumsum(claims, axis=0) == 1)
    return first[:, positive].any(axis=1), claims[:, ~positive].any(axis=1)


def _match_free(overlap: np.ndarray, reached: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each prediction takes the free instance that it overlaps most, the last of equals, as pycocotools does.

    Instances that do not count are looked at only where no other is left, and are taken too.
    """
    detections, instances, thresholds = reached.shape
    hit, ignored = np.zeros((2, detections, thresholds), bool)
    free = np.ones((instances, thresholds), bool)
    columns = np.arange(thresholds)
    for d in np.flatnonzero(reached.any(axis=(1, 2))):
        open_now = reached[d] & free
        counted = open_now & positive[:, None]
        choices = np.where(counted.any(axis=0), counted, open_now)
        taken = instances - 1 - np.where(choices, overlap[d][:, None], -1.0)[::-1].argmax(axis=0)
        matched = choices.any(axis=0)
        free[taken[matched], columns[matched]] = False
        hit[d] = counted.any(axis=0)
        ignored[d] = matched & ~hit[d]
    return hit, ignored
