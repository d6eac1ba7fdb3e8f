"""The numbers behind the charts of a run: kinds of errors, reliability of scores, sizes, overlaps, curves."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.evaluation.average_precision import (
    AveragePrecision,
    average_of_matches,
    average_precision,
)
from stages.evaluation.best_overlap import best_overlaps, concatenated
from stages.evaluation.curves import GRID, envelope_on_grid
from stages.evaluation.matching import Rule, best_first, counts_as_positive, match_predictions
from stages.evaluation.overlaps import Overlaps
from stages.evaluation.settings import ChartSettings
from stages.evaluation.wording import percent
from stages.ops.errors import CROWD, KINDS, TOUCHES, kinds_of_errors

# What the strongest prediction on an instance can be; a duplicate never is the strongest.
OF_INSTANCES = ("right", "class", "grouped", "part", "loose", "poor", "missed")


@dataclass(frozen=True)
class Measured:
    """What the charts need of an image, predictions best first.

    Attributes:
        overlaps: how D predictions overlap G instances.
        areas: (D,), pixels of the predictions; instance_areas: (G,), of the instances.
        kinds: (D,) int, index in `KINDS`.
        strongest: (G,) int, index in `OF_INSTANCES`: of the strongest prediction that is about an instance.
        found: (G,) bool, instances that a prediction is right about, however weak.
    """

    overlaps: Overlaps
    areas: np.ndarray
    instance_areas: np.ndarray
    kinds: np.ndarray
    strongest: np.ndarray
    found: np.ndarray


def measured(
    overlaps: Overlaps,
    *,
    intersections: np.ndarray,
    areas: np.ndarray,
    instance_areas: np.ndarray,
    rule: Rule,
    threshold: float,
) -> Measured:
    """Sort an image's predictions (D,) by score and by what is wrong with them.

    Args:
        overlaps: how the predictions overlap the instances.
        intersections: (D, G), pixels that predictions and instances share.
        areas: (D,), pixels of the predictions.
        instance_areas: (G,), pixels of the instances.
        rule: which instances count; those that do not are treated as crowds are.
        threshold: IoU from which a prediction is right.
    """
    order = np.argsort(-overlaps.scores, kind="stable")
    ordered = dataclasses.replace(
        overlaps, scores=overlaps.scores[order], classes=overlaps.classes[order], overlap=overlaps.overlap[order]
    )
    errors = kinds_of_errors(
        intersections[order],
        areas=areas[order],
        instance_areas=instance_areas,
        classes=ordered.classes,
        instance_classes=ordered.ground_truth_classes,
        crowd=~counts_as_positive(ordered, rule),
        threshold=threshold,
    )
    strongest = np.full(len(instance_areas), OF_INSTANCES.index("missed"))
    touching = np.flatnonzero((errors.iou >= TOUCHES) & (errors.of != CROWD))
    touched, first = np.unique(errors.instance[touching], return_index=True)
    strongest[touched] = [OF_INSTANCES.index(KINDS[kind]) for kind in errors.of[touching[first]]]
    return Measured(ordered, areas[order], instance_areas, errors.of.astype(np.int64), strongest, errors.found)


def chart_data(
    images: Sequence[Measured], *, classes: list[str], rule: Rule, settings: ChartSettings
) -> dict[str, Any]:
    """All numbers of the charts; shares in percent, None where there is nothing to measure."""
    masks, charts = settings.masks, settings.charts
    at = masks.thresholds.index(masks.curve_threshold)
    result = average_precision(
        [image.overlaps for image in images], class_count=len(classes), thresholds=masks.thresholds, rule=rule
    )
    counting = [counts_as_positive(image.overlaps, rule) for image in images]
    return {
        "per_class": {
            name: {"n_instances": int(result.positives[i]), "AP": percent(result.per_class[i, at])}
            for i, name in enumerate(classes)
        },
        "mean": percent(result.mean[at]),
        "precision_recall": _curves(result, classes, masks.thresholds, at),
        "errors": _errors(images, counting, classes),
        "reliability": _reliability(images, rule, masks.curve_threshold, charts.score_bins),
        "sizes": _sizes(images, counting, len(classes), rule, masks.curve_threshold, charts.size_groups),
        "overlaps": _overlaps(images, counting, charts.overlap_bins),
    }


def _curves(result: AveragePrecision, classes: list[str], thresholds: list[float], at: int) -> dict[str, Any]:
    """Precision at 101 recalls, the best at this recall or above: means over the classes, and of each class."""
    known = [curve for curve in result.curves if curve is not None]

    def rounded(values: np.ndarray) -> list[float]:
        return [round(100 * float(value), 3) for value in values]

    return {
        "recall": rounded(GRID),
        "mean": {
            f"{threshold:g}": rounded(np.mean([envelope_on_grid(curve, t) for curve in known], axis=0))
            if known
            else None
            for t, threshold in enumerate(thresholds)
        },
        "per_class": {
            name: None if curve is None else rounded(envelope_on_grid(curve, at))
            for name, curve in zip(classes, result.curves, strict=True)
        },
    }


def _errors(images: Sequence[Measured], counting: list[np.ndarray], classes: list[str]) -> dict[str, Any]:
    """Counts of predictions by kind, all and as many of the strongest as there are instances; and of instances."""
    kinds = concatenated((image.kinds for image in images), np.int64)
    labels = concatenated((image.overlaps.classes for image in images), np.int64)
    scores = concatenated(image.overlaps.scores for image in images)
    strongest = concatenated((i.strongest[c] for i, c in zip(images, counting, strict=True)), np.int64)
    found = concatenated((i.found[c] for i, c in zip(images, counting, strict=True)), np.int64).astype(bool)
    of = concatenated((i.overlaps.ground_truth_classes[c] for i, c in zip(images, counting, strict=True)), np.int64)
    best = np.zeros(len(scores), bool)
    best[np.argsort(-scores, kind="stable")[: len(of)]] = True
    everything = np.ones(len(scores), bool)
    return {
        "predictions": {
            name: _tally(kinds[chosen], KINDS)
            | {"per_class": {one: _counts(kinds[chosen & (labels == i)], KINDS) for i, one in enumerate(classes)}}
            for name, chosen in (("all", everything), ("strongest", best))
        },
        "instances": _tally(strongest, OF_INSTANCES)
        | {
            "found": int(found.sum()),
            "found_percent": percent(found.mean() if found.size else float("nan")),
            "per_class": {one: _counts(strongest[of == i], OF_INSTANCES) for i, one in enumerate(classes)},
        },
    }


def _counts(values: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    return dict(zip(names, np.bincount(values, minlength=len(names)).tolist(), strict=True))


def _tally(values: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """How many there are, and counts and percent by name; None in place of percent where there are none."""
    counts = _counts(values, names)
    shares = {name: 100 * count / len(values) for name, count in counts.items()} if len(values) else None
    return {"total": len(values), "counts": counts, "percent": shares}


def _reliability(images: Sequence[Measured], rule: Rule, threshold: float, bins: int) -> dict[str, Any]:
    """Share of right predictions by score, in bins of equal width, and the expected calibration error.

    ECE = sum over bins of n_b / n |share right - mean score| (Naeini et al. 2015). Scores beyond 0 to 1 are no
    shares: the bins then go from the least to the largest, and there is no ECE. What is ignored does not count.
    """
    matches = [match_predictions(image.overlaps, np.array([threshold]), rule) for image in images]
    counted = [~match.ignored[:, 0] for match in matches]
    scores = concatenated(match.scores[c] for match, c in zip(matches, counted, strict=True))
    right = concatenated(match.hit[c, 0] for match, c in zip(matches, counted, strict=True))
    low, high = (scores.min(), scores.max()) if scores.size else (0.0, 1.0)
    shares = bool(low >= 0 and high <= 1)
    edges = np.linspace(0, 1, bins + 1) if shares else np.linspace(low, high if high > low else low + 1, bins + 1)
    index = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    mean = np.divide(np.bincount(index, scores, bins), count, out=np.full(bins, np.nan), where=count > 0)
    share = np.divide(np.bincount(index, right, bins), count, out=np.full(bins, np.nan), where=count > 0)
    error = float(np.nansum(count * np.abs(share - mean)) / len(scores)) if len(scores) and shares else float("nan")
    return {
        "n_predictions": len(scores),
        "scores_are_shares": shares,
        "ECE": percent(error),
        "bins": [
            {
                "from": float(edges[i]),
                "to": float(edges[i + 1]),
                "count": int(count[i]),
                "mean_score": None if np.isnan(mean[i]) else float(mean[i]),
                "right": percent(share[i]),
            }
            for i in range(bins)
        ],
    }


def _sizes(
    images: Sequence[Measured], counting: list[np.ndarray], class_count: int, rule: Rule, threshold: float, groups: int
) -> dict[str, Any]:
    """AP by the size of instances, in groups of equally many by the quantiles of their areas.

    As COCO does with its sizes: instances of other groups are neither found nor missed, and predictions of another
    size that hit nothing do not count. Instances of one area are never parted, so that groups may be fewer.
    """
    areas = concatenated(i.instance_areas[c] for i, c in zip(images, counting, strict=True))
    if not areas.size:
        return {"units": "pixels", "groups": []}
    # Each group goes to where the next one begins; `to` is the largest area in it.
    starts = np.unique(np.quantile(areas, np.arange(groups) / groups, method="higher"))
    found = []
    for low, high in itertools.pairwise([*starts, np.inf]):

        def inside(sizes: np.ndarray, low: float = low, high: float = high) -> np.ndarray:
            return (sizes >= low) & (sizes < high) & (sizes <= areas.max())

        result = _average_of_size(images, counting, class_count, rule, threshold, inside)
        found.append(
            {
                "from": int(low),
                "to": int(areas[inside(areas)].max()),
                "n_instances": int(result.positives.sum()),
                "AP": percent(result.mean[0]),
            }
        )
    return {"units": "pixels", "groups": found}


def _average_of_size(
    images: Sequence[Measured],
    counting: list[np.ndarray],
    class_count: int,
    rule: Rule,
    threshold: float,
    inside: Callable[[np.ndarray], np.ndarray],
) -> AveragePrecision:
    levels, ignoring = np.array([threshold]), dataclasses.replace(rule, difficult="ignore")
    matches, positives = [], np.zeros(class_count, np.int64)
    for image, counted in zip(images, counting, strict=True):
        own = counted & inside(image.instance_areas)
        overlaps = dataclasses.replace(image.overlaps, difficult=~own)
        match = match_predictions(overlaps, levels, ignoring)
        outside = ~inside(image.areas[best_first(overlaps, rule.limit)])[:, None]
        matches.append(dataclasses.replace(match, ignored=match.ignored | (outside & ~match.hit)))
        positives += np.bincount(overlaps.ground_truth_classes[own], minlength=class_count)
    return average_of_matches(matches, positives, levels=1, rule=ignoring)


def _overlaps(images: Sequence[Measured], counting: list[np.ndarray], bins: int) -> dict[str, Any]:
    """Histogram of each instance's best IoU with a prediction of its class; instances without any stand apart."""
    best = concatenated(best_overlaps(i.overlaps)[c] for i, c in zip(images, counting, strict=True))
    edges = np.linspace(0, 1, bins + 1)
    counts = np.histogram(best[best > 0], edges)[0].tolist()
    return {
        "edges": edges.tolist(),
        "counts": counts,
        "none": int((best == 0).sum()),
        "percent": [100 * count / len(best) for count in counts] if len(best) else None,
        "none_percent": percent((best == 0).mean() if best.size else float("nan")),
    }
