"""VOC's average precision of boxes and CorLoc: each rule by hand, and all of them against plain loops."""

import numpy as np
import pytest

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.instances import Instances
from stages.evaluation.average_precision import average_precision
from stages.evaluation.boxes import RULES, box_overlaps, correct_localisation

CLASSES = 2
OBJECT, APART = (0, 0, 4, 4), (6, 0, 10, 4)


@pytest.fixture
def measure(records):
    """AP of class 0 by a preset from (boxes, scores) and (boxes, difficult) of one image."""

    def measure(found, objects, preset="voc12", *, scores=None, **marks):
        instances = records.instances("a", [(0, 1, 0, 1)] * len(found), scores=scores, boxes=found)
        overlaps = box_overlaps(instances, records.boxes("a", objects, **marks))
        result = average_precision([overlaps], class_count=CLASSES, thresholds=[0.5], rule=RULES[preset])
        assert np.isnan(result.per_class[1, 0])  # a class without an object
        return result.per_class[0, 0]

    return measure


def test_voc07_is_the_mean_at_eleven_recalls_and_voc12_the_area(measure):
    """Right, wrong, right of three objects: precision 1 up to recall 1/3, 2/3 up to recall 2/3, none above."""
    found, objects = [OBJECT, (5, 5, 6, 6), APART], [OBJECT, APART, (0, 4, 2, 6)]
    assert measure(found, objects, "voc07") == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    assert measure(found, objects, "voc12") == pytest.approx((1 + 2 / 3) / 3)


@pytest.mark.parametrize("preset", RULES)
def test_a_difficult_object_is_neither_expected_nor_wrong_to_find(measure, preset):
    """The best prediction is on the difficult object: ignored, twice. The last one is right, and alone in the count."""
    found = [OBJECT, OBJECT, APART]
    assert measure(found, [OBJECT, APART], preset, difficult=[True, False]) == 1


def test_an_image_of_difficult_objects_alone_has_no_ap(measure):
    assert np.isnan(measure([OBJECT], [OBJECT], difficult=[True]))


def test_a_second_match_is_wrong(measure):
    """Precision 1, 1/2, 2/3: the duplicate stands between the two that are right."""
    assert measure([OBJECT, OBJECT, APART], [OBJECT, APART]) == pytest.approx((1 + 2 / 3) / 2)


def test_a_prediction_looks_at_the_object_that_it_overlaps_most_alone(measure):
    """Both overlap both objects by half or more. The second looks at the first object, which is taken."""
    objects = [(0, 0, 10, 4), (2, 0, 12, 4)]
    found = [(0, 0, 10, 4), (0.5, 0, 10.5, 4)]
    assert measure(found, objects) == 0.5


def test_an_iou_of_just_one_half_is_a_hit(measure):
    """VOCevaldet.m: ovmax >= MINOVERLAP; py-faster-rcnn has >."""
    assert measure([(0, 0, 2, 4)], [OBJECT]) == 1
    assert measure([(0, 0, 1.999, 4)], [OBJECT]) == 0


def test_sides_count_both_their_first_and_last_pixel(measure, records):
    """VOC's corners 1..5 of 1..10 by 1..10: 50 / 100 with + 1; 4 * 9 / 9 * 9 = 0.44 without."""
    objects, found = [(0, 0, 10, 10)], [(0, 0, 5, 10)]
    overlaps = box_overlaps(records.instances("a", [(0, 1, 0, 1)], boxes=found), records.boxes("a", objects))
    assert overlaps.overlap.tolist() == [[0.5]]
    assert measure(found, objects) == 1


def test_without_boxes_of_its_own_an_instance_has_its_masks_box(records):
    mask = np.zeros((1, 6, 10), bool)
    mask[0, 1, 2], mask[0, 3, 5] = True, True
    overlaps = box_overlaps(records.instances("a", mask), records.boxes("a", [(2, 1, 6, 4), (2, 1, 5, 3)]))
    assert overlaps.overlap.tolist() == [[1.0, 0.5]]


def test_boxes_in_a_crowd_do_not_count(measure):
    assert measure([APART, OBJECT], [OBJECT, (4, 0, 10, 6)], crowd=[False, True]) == 1
    assert measure([APART, OBJECT], [OBJECT, (4, 0, 10, 6)], crowd=[False, False]) == pytest.approx(0.5 * 0.5)


def test_no_prediction_is_zero_and_empty_boxes_hit_nothing(measure):
    assert measure([], [OBJECT]) == 0
    assert measure([(1, 1, 1, 1)], [(1, 1, 1, 1)]) == 0


@pytest.mark.parametrize("changed", [{"scores": [0.5, np.nan]}, {"boxes": [OBJECT, (0, 0, np.inf, 1)]}])
def test_what_is_not_finite_is_refused(records, changed):
    given = {"scores": [0.5, 0.4], "boxes": [OBJECT, OBJECT]} | changed
    with pytest.raises(ValueError, match="image 'a' hold scores or boxes that are not finite"):
        box_overlaps(records.instances("a", [(0, 1, 0, 1)] * 2, **given), records.boxes("a"))


@pytest.fixture
def localise(records):
    """CorLoc from (boxes, classes, scores) and (objects, classes) of each image."""

    def localise(*images):
        overlaps = [
            box_overlaps(
                records.instances("a", [(0, 1, 0, 1)] * len(boxes), classes, scores, boxes=boxes),
                records.boxes("a", objects, of_objects, difficult=difficult),
            )
            for (boxes, classes, scores), (objects, of_objects, difficult) in images
        ]
        return correct_localisation(overlaps, class_count=CLASSES)

    return localise


def test_corloc_asks_for_the_best_box_alone(localise):
    objects = ([OBJECT], [0], [False])
    assert localise((([APART, OBJECT], [0, 0], [0.9, 0.8]), objects)).mean == 0
    assert localise((([APART, OBJECT], [0, 0], [0.7, 0.8]), objects)).mean == 1
    assert localise((([APART, OBJECT], [1, 0], [0.9, 0.8]), objects)).mean == 1  # best of its class


def test_corloc_takes_any_of_several_objects_and_difficult_ones(localise):
    one = ([APART], [0], [0.9])
    assert localise((one, ([OBJECT, APART], [0, 0], [False, False]))).mean == 1
    assert localise((one, ([OBJECT, APART], [0, 0], [False, True]))).mean == 1
    assert localise((one, ([OBJECT, APART], [0, 1], [False, True]))).per_class.tolist() == [0, 0]


def test_corloc_takes_no_iou_of_just_one_half(localise):
    objects = ([OBJECT], [0], [False])
    assert localise((([(0, 0, 2, 4)], [0], [0.9]), objects)).mean == 0
    assert localise((([(0, 0, 2.001, 4)], [0], [0.9]), objects)).mean == 1


def test_corloc_counts_an_image_without_a_prediction_as_a_miss_and_leaves_other_classes_out(localise):
    found, nothing = ([OBJECT], [0], [0.9]), ([], [], [])
    objects = ([OBJECT], [0], [False])
    result = localise((found, objects), (nothing, objects), (found, ([], [], [])))
    assert result.per_class.tolist() == [0.5, pytest.approx(np.nan, nan_ok=True)]
    assert result.mean == 0.5


def test_corloc_is_the_mean_over_classes_not_over_images(localise):
    hit, miss = ([OBJECT, APART], [0, 1], [0.9, 0.8]), ([APART, OBJECT], [0, 1], [0.9, 0.8])
    cats, both = ([OBJECT], [0], [False]), ([OBJECT, APART], [0, 1], [False, False])
    assert localise((hit, both), (miss, cats), (miss, cats)).mean == pytest.approx((1 / 3 + 1) / 2)


def test_corloc_without_an_object_is_not_known(localise):
    assert np.isnan(localise().mean)


def voc_iou(box, other):
    """Of corners in whole pixels from 1, both inside: the development kit's arithmetic."""
    width = min(box[2], other[2]) - max(box[0], other[0]) + 1
    height = min(box[3], other[3]) - max(box[1], other[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    union = (box[2] - box[0] + 1) * (box[3] - box[1] + 1) + (other[2] - other[0] + 1) * (other[3] - other[1] + 1) - both
    return both / union


def inclusive(box):
    x0, y0, x1, y1 = (int(number) for number in box)
    return x0 + 1, y0 + 1, x1, y1


def devkit_ap(images, label, eleven_points):
    """VOCevaldet.m with VOCap.m, line by line."""
    positives = sum(
        int(c == label and not d)
        for _, objects in images
        for c, d in zip(objects.classes, objects.difficult, strict=True)
    )
    found = []
    for number, (instances, _) in enumerate(images):
        for i, score in enumerate(instances.scores):
            if instances.classes[i] == label:
                found.append((-score, len(found), number, inclusive(instances.boxes[i])))
    taken, true, false = set(), [], []
    for _, _, number, box in sorted(found):
        objects = images[number][1]
        best, which = -1.0, None
        for j in range(len(objects.boxes)):
            if objects.classes[j] == label and voc_iou(box, inclusive(objects.boxes[j])) > best:
                best, which = voc_iou(box, inclusive(objects.boxes[j])), j
        true.append(0)
        false.append(0)
        if best >= 0.5:
            if not objects.difficult[which]:
                (false if (number, which) in taken else true)[-1] = 1
                taken.add((number, which))
        else:
            false[-1] = 1
    if not positives:
        return None
    recall, precision = [], []
    for i in range(len(true)):
        hits, misses = sum(true[: i + 1]), sum(false[: i + 1])
        recall.append(hits / positives)
        precision.append(hits / (hits + misses) if hits + misses else 0.0)
    if eleven_points:
        levels = [t / 10 for t in range(11)]
        return (
            sum(max([p for p, r in zip(precision, recall, strict=True) if r >= t - 1e-9], default=0) for t in levels)
            / 11
        )
    area, last = 0.0, 0.0
    for i, reached in enumerate(recall):
        area += (reached - last) * max(precision[i:])
        last = reached
    return area


def random_boxes(generator, count):
    corners = generator.integers(0, 8, (count, 2)), generator.integers(1, 9, (count, 2))
    return np.concatenate([corners[0], corners[0] + corners[1]], axis=1).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_both_metrics_are_those_of_plain_loops(records, seed):
    generator = np.random.default_rng(seed)
    images: list[tuple[Instances, AnnotatedBoxes]] = []
    for _ in range(6):
        counts = generator.integers(0, 6, 2)
        objects = random_boxes(generator, counts[1])
        found = random_boxes(generator, counts[0])
        for i in range(min(counts)):  # some near an object
            found[i] = objects[i] + generator.integers(0, 2, 4)
        instances = records.instances(
            "a", [(0, 1, 0, 1)] * counts[0], generator.integers(0, CLASSES, counts[0]), boxes=found,
            scores=np.sort(generator.permutation(100)[: counts[0]] / 100)[::-1],
        )  # fmt: skip
        marks = generator.random(counts[1]) < 0.3
        images.append(
            (instances, records.boxes("a", objects, generator.integers(0, CLASSES, counts[1]), difficult=marks))
        )
    overlaps = [box_overlaps(*image) for image in images]
    for preset in RULES:
        result = average_precision(overlaps, class_count=CLASSES, thresholds=[0.5], rule=RULES[preset])
        for label in range(CLASSES):
            expected = devkit_ap(images, label, preset == "voc07")
            if expected is None:
                assert np.isnan(result.per_class[label, 0])
            else:
                assert result.per_class[label, 0] == pytest.approx(expected)
    result = correct_localisation(overlaps, class_count=CLASSES)
    for label in range(CLASSES):
        hits = []
        for instances, objects in images:
            own = [j for j in range(len(objects.boxes)) if objects.classes[j] == label]
            best = next((i for i in range(len(instances.scores)) if instances.classes[i] == label), None)
            if own:
                ious = [
                    voc_iou(inclusive(instances.boxes[best]), inclusive(objects.boxes[j])) if best is not None else 0
                    for j in own
                ]
                hits.append(max(ious) > 0.5)
        expected = np.mean(hits) if hits else np.nan
        assert result.per_class[label] == pytest.approx(expected, nan_ok=True)
