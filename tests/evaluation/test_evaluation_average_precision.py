"""Average precision by hand, by a plain loop, and by pycocotools; docs/metrics.md."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.evaluation.average_precision import (
    COCO_THRESHOLDS,
    PRESETS,
    average_precision,
    preset,
)
from stages.evaluation.coco import CocoEvaluation
from stages.evaluation.matching import Rule
from stages.evaluation.overlaps import Overlaps, overlaps_with_ground_truth
from stages.ops.precision import interpolated_average


def image(scores, overlap, classes=None, ground_truth_classes=None, crowd=None, difficult=None) -> Overlaps:
    overlap = np.asarray(overlap, float).reshape(len(scores), -1)
    count = overlap.shape[1]
    return Overlaps(
        scores=np.array(scores, np.float32),
        classes=np.array(classes if classes is not None else [0] * len(scores), np.int32),
        overlap=overlap,
        ground_truth_classes=np.array(
            ground_truth_classes if ground_truth_classes is not None else [0] * count, np.int32
        ),
        crowd=np.array(crowd if crowd is not None else [False] * count, bool),
        difficult=np.array(difficult if difficult is not None else [False] * count, bool),
    )


@dataclass
class Case:
    """Mean AP at IoU .5 of one image, by preset, worked out by hand."""

    image: Overlaps
    voc: float
    cim: float
    sds: float
    coco: float
    classes: int = 1
    difficult: str = field(default="count")


NONE = float("nan")
CASES = {
    "one hit": Case(image([0.9], [[0.8]]), voc=1, cim=1, sds=1, coco=1),
    "one miss": Case(image([0.9], [[0.3]]), voc=0, cim=0, sds=0, coco=0),
    "nothing predicted": Case(
        Overlaps(np.zeros(0), np.zeros(0, int), np.zeros((0, 1)), np.zeros(1, int), *np.zeros((2, 1), bool)),
        voc=0, cim=0, sds=0, coco=0,
    ),
    "nothing to find": Case(image([0.9], np.zeros((1, 0))), voc=NONE, cim=NONE, sds=NONE, coco=NONE),
    "overlap of exactly the threshold hits unless strict": Case(image([0.9], [[0.5]]), voc=1, cim=1, sds=0, coco=1),
    # Both instances are overlapped by the second prediction, most of all the one that is taken.
    "taken best instance: wrong by best, next one by free": Case(
        image([0.9, 0.8], [[0.8, 0.0], [0.7, 0.6]]), voc=0.5, cim=1, sds=1, coco=1
    ),
    # Order: first takes the only instance, second is a duplicate, third hits. Recall 1/2 1/2 1, precision 1 1/2 2/3.
    # Area 1/2 + 1/2 * 2/3 = 5/6; 51 of 101 recalls (0 to .50) have precision 1, 50 have 2/3.
    "duplicate is wrong": Case(
        image([0.9, 0.8, 0.7], [[0.9, 0.0], [0.8, 0.0], [0.0, 0.9]]),
        voc=5 / 6, cim=(51 + 50 * 2 / 3) / 101, sds=5 / 6, coco=(51 + 50 * 2 / 3) / 101,
    ),
    # Recall 1/3 1/3 2/3, precision 1 1/2 2/3: 34 recalls (0 to .33) at 1, 33 (.34 to .66) at 2/3, the rest at 0.
    "area is exact, coco101 a grid": Case(
        image([0.9, 0.8, 0.7], [[0.9, 0, 0], [0, 0, 0], [0, 0.9, 0]]),
        voc=5 / 9, cim=(34 + 33 * 2 / 3) / 101, sds=5 / 9, coco=(34 + 33 * 2 / 3) / 101,
    ),
    "absent class: left out, or zero": Case(
        image([0.9, 0.8], [[0.9], [0.9]], classes=[0, 1]), classes=2, voc=1, cim=0.5, sds=1, coco=1
    ),
    "another class hits nothing": Case(
        image([0.9], [[0.9]], classes=[1], ground_truth_classes=[0]), classes=2, voc=0, cim=0, sds=0, coco=0
    ),
    "equal scores keep their order, wrong one first": Case(
        image([0.5, 0.5], [[0.0], [0.9]]), voc=0.5, cim=0.5, sds=0.5, coco=0.5
    ),
    "equal scores keep their order, right one first": Case(
        image([0.5, 0.5], [[0.9], [0.0]]), voc=1, cim=1, sds=1, coco=1
    ),
    "predictions in a crowd do not count": Case(
        image([0.9, 0.8, 0.7], [[0, 0.9], [0, 0.6], [0.9, 0]], crowd=[False, True]), voc=1, cim=1, sds=1, coco=1
    ),
    "a crowd is no instance to find": Case(
        image([0.9], [[0.9]], crowd=[True]), voc=NONE, cim=NONE, sds=NONE, coco=NONE
    ),
    "a crowd does not take what hits an instance": Case(
        image([0.9], [[0.6, 1.0]], crowd=[False, True]), voc=1, cim=1, sds=1, coco=1
    ),
    "difficult instances count": Case(
        image([0.9], [[0.9, 0.0]], difficult=[False, True]), voc=0.5, cim=51 / 101, sds=0.5, coco=51 / 101
    ),
    "ignored difficult instances and matches with them do not count": Case(
        image([0.9, 0.8], [[0.0, 0.9], [0.9, 0.0]], difficult=[False, True]),
        voc=1, cim=1, sds=1, coco=1, difficult="ignore",
    ),
    "a second match with an ignored difficult instance: ignored by best (VOC), wrong by free (pycocotools)": Case(
        image([0.9, 0.8, 0.7], [[0.0, 0.9], [0.0, 0.9], [0.9, 0.0]], difficult=[False, True]),
        voc=1, cim=0.5, sds=0.5, coco=0.5, difficult="ignore",
    ),
    # Best: the first looks at the difficult one and is ignored, the second hits. Free: the first takes the counted one.
    "a free instance that counts goes before an ignored difficult one": Case(
        image([0.9, 0.8], [[0.6, 0.9, 0.0], [0.6, 0.0, 0.0]], difficult=[False, True, False]),
        voc=0.5, cim=51 / 101, sds=0.5, coco=51 / 101, difficult="ignore",
    ),
    "the hundred best of an image and class": Case(
        image(np.linspace(0.9, 0.1, 101), np.eye(101)[:, 100:]), voc=1 / 101, cim=0, sds=1 / 101, coco=0
    ),
    "the limit is of each class": Case(
        image(np.linspace(0.9, 0.1, 101), np.eye(101)[:, 100:], classes=[1] * 50 + [0] * 51),
        classes=2, voc=1 / 51, cim=1 / 51 / 2, sds=1 / 51, coco=1 / 51,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["voc", "cim", "sds", "coco"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_presets_give_what_was_worked_out_by_hand(case: Case, name: str) -> None:
    rule = preset(name, difficult=case.difficult)
    found = average_precision([case.image], class_count=case.classes, thresholds=[0.5], rule=rule)
    assert found.mean[0] == pytest.approx(getattr(case, name), nan_ok=True, abs=1e-12)


def test_voc07_is_the_mean_at_eleven_recalls() -> None:
    # Recall 1/3 1/3 2/3, precision 1 1/2 2/3: recalls 0 to .3 have 1, .4 to .6 have 2/3, the rest 0.
    recall, precision = np.array([[1], [1], [2]]) / 3, np.array([[1], [0.5], [2 / 3]])
    assert interpolated_average(recall, precision, "voc07")[0] == pytest.approx(6 / 11)


def test_predictions_are_ordered_over_all_images() -> None:
    # The wrong prediction of the second image stands between: precision 1, 1/2, 2/3 at recalls 1/2, 1/2, 1.
    images = [image([0.9, 0.2], [[0.9, 0.0], [0.0, 0.9]]), image([0.5], np.zeros((1, 0)))]
    found = average_precision(images, class_count=1, thresholds=[0.5], rule=PRESETS["voc"])
    assert found.mean[0] == pytest.approx(5 / 6)


def test_rounding_does_not_spoil_a_perfect_overlap_at_threshold_one() -> None:
    """pycocotools' bound of 1 - 1e-10."""
    for overlap, hits in ((1 - 1e-12, 1), (1 - 1.5e-10, 0)):
        found = average_precision([image([0.9], [[overlap]])], class_count=1, thresholds=[1.0], rule=PRESETS["coco"])
        assert found.mean.tolist() == pytest.approx([hits])


def test_all_thresholds_at_once_are_one_at_a_time() -> None:
    images = [_random_image(np.random.default_rng(seed)) for seed in range(20)]
    for rule in PRESETS.values():
        together = average_precision(images, class_count=3, thresholds=COCO_THRESHOLDS, rule=rule).per_class
        for t, threshold in enumerate(COCO_THRESHOLDS):
            alone = average_precision(images, class_count=3, thresholds=[threshold], rule=rule).per_class
            np.testing.assert_allclose(together[:, t], alone[:, 0], rtol=1e-12)


@pytest.mark.parametrize("name", PRESETS)
def test_no_image_has_no_mean_and_no_average_precision(name: str) -> None:
    result = average_precision([], class_count=2, thresholds=[0.5], rule=PRESETS[name])
    assert np.isnan(result.mean).all()
    assert np.isnan(result.per_class).all()


def _random_image(generator: np.random.Generator, grid: int = 5) -> Overlaps:
    """Overlaps with many ties: values and scores lie on a coarse grid that meets the thresholds."""
    detections, instances = generator.integers(0, 9), generator.integers(0, 6)
    return Overlaps(
        scores=generator.integers(0, 4, detections) / 4,
        classes=generator.integers(0, 3, detections),
        overlap=generator.integers(0, grid, (detections, instances)) / (grid - 1),
        ground_truth_classes=generator.integers(0, 3, instances),
        crowd=generator.random(instances) < 0.2,
        difficult=generator.random(instances) < 0.2,
    )


def _plain_hits(shown: Overlaps, rule: Rule, threshold: float, label: int) -> list[tuple[float, str]]:
    """One class of one image, pair by pair: (score, "hit" | "wrong" | "ignored") of each prediction."""
    columns = [g for g in range(len(shown.crowd)) if shown.ground_truth_classes[g] == label]
    skipped = {g for g in columns if shown.difficult[g] and rule.difficult == "ignore"}
    rows = sorted((d for d in range(len(shown.scores)) if shown.classes[d] == label), key=lambda d: -shown.scores[d])
    taken: set[int] = set()
    found = []
    for d in rows[: rule.limit]:
        enough = {g for g in columns if (shown.overlap[d, g] > threshold) or (
            not rule.strict and shown.overlap[d, g] == threshold)}  # fmt: skip
        single = [g for g in columns if not shown.crowd[g]]
        if rule.match == "best":
            best = [max(single, key=lambda g: (shown.overlap[d, g], -g))] if single else []
            choice = [g for g in best if g in enough]
            outcome = "wrong"
            if choice and choice[0] in skipped:
                outcome = "ignored"
            elif choice and choice[0] not in taken:
                outcome = "hit"
        else:
            free = [g for g in single if g in enough and g not in taken]
            choice = [g for g in free if g not in skipped] or free
            choice = [max(choice, key=lambda g: (shown.overlap[d, g], g))] if choice else []
            outcome = "wrong" if not choice else "ignored" if choice[0] in skipped else "hit"
        taken |= set(choice)
        if outcome == "wrong" and any(shown.crowd[g] for g in enough):
            outcome = "ignored"
        found.append((float(shown.scores[d]), outcome))
    return found


def _plain_ap(images: list[Overlaps], rule: Rule, threshold: float, label: int) -> float:
    found = [entry for shown in images for entry in _plain_hits(shown, rule, threshold, label)]
    positives = sum(
        shown.ground_truth_classes[g] == label
        and not shown.crowd[g]
        and not (shown.difficult[g] and rule.difficult == "ignore")
        for shown in images
        for g in range(len(shown.crowd))
    )
    if not positives:
        return float("nan") if rule.absent == "nan" else 0.0
    points, hits, counted = [], 0, 0
    for _, outcome in sorted(found, key=lambda entry: -entry[0]):
        hits, counted = hits + (outcome == "hit"), counted + (outcome != "ignored")
        points.append((hits / positives, hits / counted if counted else 0.0))

    def best(level: float) -> float:
        return max((precision for recall, precision in points if recall >= level), default=0.0)

    if rule.interpolation == "area":
        levels = sorted({0.0, *(recall for recall, _ in points)})
        return sum((b - a) * best(b) for a, b in itertools.pairwise(levels))
    steps = {"coco101": 101, "voc07": 11}[rule.interpolation]
    return sum(best(level) for level in np.linspace(0, 1, steps)) / steps


RULES = st.builds(
    Rule,
    interpolation=st.sampled_from(["area", "coco101", "voc07"]),
    match=st.sampled_from(["best", "free"]),
    strict=st.booleans(),
    absent=st.sampled_from(["nan", "zero"]),
    limit=st.sampled_from([None, 1, 3]),
    difficult=st.sampled_from(["count", "ignore"]),
)


@settings(max_examples=150, deadline=None)
@given(rule=RULES, seed=st.integers(0, 10**6), count=st.integers(1, 5))
def test_equals_the_plain_loop_under_every_rule(rule: Rule, seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    images = [_random_image(generator) for _ in range(count)]
    thresholds = [0.25, 0.5, 0.75, 0.9]
    found = average_precision(images, class_count=3, thresholds=thresholds, rule=rule)
    expected = np.array([[_plain_ap(images, rule, t, label) for t in thresholds] for label in range(3)])
    if not found.positives.any():
        expected[:] = np.nan
    np.testing.assert_allclose(found.per_class, expected, atol=1e-12)


def _blobs(generator: np.random.Generator, count: int) -> np.ndarray:
    """Masks of rectangles that often overlap and sometimes coincide, (count, 6, 10)."""
    masks = np.zeros((count, 6, 10), bool)
    for mask in masks:
        y, x = generator.integers(0, 3), generator.integers(0, 5)
        mask[y : y + generator.integers(1, 4), x : x + generator.integers(1, 6)] = True
    return masks


@pytest.mark.parametrize("seed", range(12))
def test_coco_preset_equals_pycocotools_with_crowds_and_ties(records, seed: int) -> None:
    generator = np.random.default_rng(seed)
    coco, images = CocoEvaluation(3), []
    for i in range(15):
        predicted, annotated = generator.integers(0, 12), generator.integers(0, 7)
        found = records.instances(
            str(i), _blobs(generator, predicted), generator.integers(0, 3, predicted),
            np.sort(generator.integers(0, 6, predicted) / 6)[::-1],
        )  # fmt: skip
        ground_truth = records.ground_truth(
            str(i), _blobs(generator, annotated), generator.integers(0, 3, annotated),
            crowd=generator.random(annotated) < 0.3,
        )  # fmt: skip
        images.append(overlaps_with_ground_truth(found, ground_truth, void="background"))
        coco.add(found, ground_truth, void="background")
    ours = average_precision(images, class_count=3, thresholds=COCO_THRESHOLDS, rule=PRESETS["coco"])
    theirs = coco.summary()
    assert theirs.overall["AP"] == pytest.approx(ours.mean.mean(), abs=1e-9)
    assert theirs.overall["AP50"] == pytest.approx(ours.mean[0], abs=1e-9)
    assert theirs.overall["AP75"] == pytest.approx(ours.mean[5], abs=1e-9)
    for label in range(3):
        expected = ours.per_class[label].mean(), ours.per_class[label, 0], ours.per_class[label, 5]
        precisions = [theirs.per_class[label][name] for name in ("AP", "AP50", "AP75")]
        assert precisions == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_pycocotools_gives_zero_without_predictions_and_prints_nothing(records, capsys) -> None:
    coco = CocoEvaluation(2)
    coco.add(records.instances("a"), records.ground_truth("a", [(0, 3, 0, 3)]), void="background")
    overall = coco.summary().overall
    assert (overall["AP"], overall["AP50"], overall["APs"]) == (0, 0, 0)
    assert np.isnan(overall["APl"])
    assert capsys.readouterr().out == ""
