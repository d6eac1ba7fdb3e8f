"""COCO's own numbers: average recall by hand, and all twelve against pycocotools' summary of masks drawn one by one."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stages.evaluation.coco import CocoEvaluation

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
LEFT, RIGHT, LOWER, MIDDLE = (0, 3, 0, 3), (0, 3, 7, 10), (3, 6, 0, 3), (3, 6, 7, 10)
WRONG = (0, 6, 4, 6)
SIDES = (170, 190)


def summary(found, ground_truth, *, classes: int = 2, void: str = "background"):
    coco = CocoEvaluation(classes)
    coco.add(found, ground_truth, void=void)
    return coco.summary()


def test_average_recall_counts_the_best_1_10_and_100_predictions_of_an_image_and_class(records) -> None:
    # The four cats are found by the predictions 1, 2, 11 and 101.
    ranked = [LEFT, RIGHT, *[WRONG] * 8, LOWER, *[WRONG] * 89, MIDDLE]
    found = records.instances("a", ranked, scores=np.linspace(0.9, 0.1, 101))
    coco = summary(found, records.ground_truth("a", [LEFT, RIGHT, LOWER, MIDDLE]))
    assert [coco.overall[name] for name in ("AR1", "AR10", "AR100")] == [0.25, 0.5, 0.75]
    assert coco.per_class[0]["AR100"] == 0.75
    assert np.isnan(coco.per_class[1]["AR100"])


def test_average_recall_limits_each_class_and_image_by_itself(records) -> None:
    # A dog that scores more takes no place of the cat's, nor does another image.
    coco = CocoEvaluation(2)
    for image in ("a", "b"):
        found = records.instances(image, [RIGHT, LEFT], classes=[1, 0])
        coco.add(found, records.ground_truth(image, [LEFT, RIGHT], classes=[0, 1]), void="background")
    assert coco.summary().overall["AR1"] == 1


def test_average_recall_is_the_mean_over_ten_overlaps(records) -> None:
    # IoU 12/16 = .75: a hit at .5, .55, .6, .65, .7 and .75.
    found = records.instances("a", [(0, 3, 0, 4)])
    assert summary(found, records.ground_truth("a", [(0, 4, 0, 4)])).overall["AR100"] == pytest.approx(0.6)


def test_average_recall_is_the_mean_over_classes_with_instances(records) -> None:
    # Of the cats one of two is found, of the dogs none; the third class has no instance.
    found = records.instances("a", [LEFT, WRONG], classes=[0, 2])
    ground_truth = records.ground_truth("a", [LEFT, RIGHT, LOWER], classes=[0, 0, 1])
    coco = summary(found, ground_truth, classes=3)
    assert coco.overall["AR100"] == 0.25
    assert [of_class["AR100"] for of_class in coco.per_class] == pytest.approx([0.5, 0, np.nan], nan_ok=True)


def test_average_recall_by_size(records) -> None:
    # 31 x 32 and 33 x 32 pixels on either side of small, 96 x 97 above medium; medium alone is missed.
    small, medium, large = (0, 31, 0, 32), (40, 73, 0, 32), (0, 96, 40, 137)
    size = (120, 150)
    found = records.instances("a", [small, large], size=size)
    overall = summary(found, records.ground_truth("a", [small, medium, large], size=size)).overall
    assert [overall[name] for name in ("ARs", "ARm", "ARl")] == [1, 0, 1]
    assert overall["AR100"] == pytest.approx(2 / 3)


def test_an_instance_on_the_border_of_two_sizes_is_of_both(records) -> None:
    border, size = (0, 32, 0, 32), (40, 40)
    overall = summary(
        records.instances("a", [border], size=size), records.ground_truth("a", [border], size=size)
    ).overall
    assert (overall["ARs"], overall["ARm"]) == (1, 1)
    assert np.isnan(overall["ARl"])


def test_crowds_are_not_expected_to_be_found(records) -> None:
    ground_truth = records.ground_truth("a", [LEFT, RIGHT, LOWER], crowd=[False, True, True])
    overall = summary(records.instances("a", [LEFT]), ground_truth).overall
    assert (overall["AR1"], overall["AR100"]) == (1, 1)


def test_a_prediction_in_a_crowd_takes_a_place_of_the_limit(records) -> None:
    ground_truth = records.ground_truth("a", [LEFT, RIGHT], crowd=[False, True])
    overall = summary(records.instances("a", [RIGHT, LEFT]), ground_truth).overall
    assert (overall["AR1"], overall["AR10"]) == (0, 1)


def test_without_predictions_recall_is_zero_and_without_instances_unknown(records) -> None:
    nothing_found = summary(records.instances("a"), records.ground_truth("a", [LEFT])).overall
    assert {nothing_found[name] for name in ("AR1", "AR10", "AR100", "ARs")} == {0}
    assert np.isnan([nothing_found["ARm"], nothing_found["ARl"]]).all()
    nothing_there = summary(records.instances("a", [LEFT]), records.ground_truth("a")).overall
    assert np.isnan(list(nothing_there.values())).all()


def test_without_images_every_number_is_unknown() -> None:
    coco = CocoEvaluation(2).summary()
    assert list(coco.overall) == NAMES
    assert [list(of_class) for of_class in coco.per_class] == [["AP", "AP50", "AP75", "AR100"]] * 2
    assert np.isnan([*coco.overall.values(), *coco.per_class[0].values()]).all()


@pytest.mark.parametrize("void", ["background", "ignore"])
@pytest.mark.parametrize("seed", range(4))
def test_all_numbers_are_those_of_pycocotools_summary(records, seed: int, void: str) -> None:
    generator = np.random.default_rng(seed)
    coco, images, annotations, results = CocoEvaluation(3), [], [], []
    for image in range(1, 11):
        annotated, predicted = generator.integers(0, 6), generator.integers(0, 40)
        truths = _rectangles(generator, annotated)
        guesses = np.concatenate([truths & (generator.random(SIDES) < 0.9), _rectangles(generator, predicted)])
        classes = generator.integers(0, 2, annotated), generator.integers(0, 3, len(guesses))
        crowd, scores = generator.random(annotated) < 0.2, np.sort(generator.integers(0, 9, len(guesses)) / 9)[::-1]
        hole = np.zeros(SIDES, bool)
        hole[60:90] = True
        coco.add(
            records.instances(str(image), guesses, classes[1], scores, size=SIDES),
            records.ground_truth(str(image), truths & ~hole, classes[0], crowd=crowd, void=hole, size=SIDES),
            void=void,
        )
        counted = guesses & ~hole if void == "ignore" else guesses
        images.append({"id": image, "height": SIDES[0], "width": SIDES[1]})
        annotations += _entries(image, truths & ~hole, classes[0], "iscrowd", crowd.tolist())
        results += _entries(image, counted, classes[1], "score", scores.astype(np.float32).tolist())
    overall, expected = coco.summary().overall, _stats(images, annotations, results)
    assert list(overall) == NAMES
    assert list(overall.values()) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def _rectangles(generator: np.random.Generator, count: int) -> np.ndarray:
    """Masks of rectangles of all three sizes."""
    masks = np.zeros((count, *SIDES), bool)
    for mask in masks:
        (y, x), (height, width) = generator.integers(0, 50, 2), generator.integers(4, 150, 2)
        mask[y : y + height, x : x + width] = True
    return masks


def _entries(image: int, masks: np.ndarray, classes: np.ndarray, name: str, values: list[float]) -> list[dict]:
    encoded = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    return [
        {"image_id": image, "category_id": int(label) + 1, "segmentation": rle, "area": int(mask.sum()),
         "bbox": coco_mask.toBbox(rle).tolist(), "iscrowd": 0, name: value}
        for rle, mask, label, value in zip(encoded, masks, classes, values, strict=True)
    ]  # fmt: skip


def _stats(images: list[dict], annotations: list[dict], results: list[dict]) -> list[float]:
    """The twelve numbers that pycocotools prints, nan for its -1."""
    apis = []
    with contextlib.redirect_stdout(io.StringIO()):
        for half in (annotations, results):
            apis.append(COCO())
            numbered = [entry | {"id": i + 1} for i, entry in enumerate(half)]
            categories = [{"id": label + 1} for label in range(3)]
            apis[-1].dataset = {"images": images, "categories": categories, "annotations": numbered}
            apis[-1].createIndex()
        evaluation = COCOeval(*apis, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [np.nan if number == -1 else float(number) for number in evaluation.stats]
