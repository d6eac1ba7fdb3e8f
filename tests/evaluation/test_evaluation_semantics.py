"""The report on semantic maps: VOC's formula on confusion matrices made by hand, and what does not count."""

import json

import numpy as np
import pytest

from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.evaluation.confusion import confusion_matrix
from stages.evaluation.report_semantics import numbers, report_semantics
from tests.evaluation.conftest import SIZE

LEFT, RIGHT = (0, 6, 0, 4), (0, 6, 6, 10)


def drawn(*parts, background=0):
    """A map of 6 x 10 pixels from (rectangle, label)."""
    labels = np.full(SIZE, background, np.uint8)
    for (y0, y1, x0, x1), label in parts:
        labels[y0:y1, x0:x1] = label
    return labels


@pytest.fixture
def report(write, tmp_path):
    def report(maps, ground_truths, **header):
        records = [SemanticMaps(image=name, labels=labels) for name, labels in maps.items()]
        about = {"source": "cam", "supervision": "image tags", **header}
        found = write(*records, kind=SemanticMaps, **about)
        output = tmp_path / "report.json"
        report_semantics(maps=found, ground_truth=write(*ground_truths), output=output)
        return json.loads(output.read_text())

    return report


def test_iou_is_that_of_voc_over_the_whole_split(report, records):
    """60 pixels. Cat: 24 annotated, 12 found right, 12 more found wrong on background: 12 / 36. Dog: 24 right of 24.
    Background: 12 annotated, 0 right, 12 said where cat is: 0 / 24."""
    ground_truth = records.ground_truth("a", [LEFT, RIGHT], [0, 1])
    maps = {"a": drawn(((0, 6, 2, 6), 1), (RIGHT, 2))}
    found = report(maps, [ground_truth])
    assert found["per_class"]["cat"]["IoU"] == pytest.approx(100 * 12 / 36)
    assert found["per_class"]["dog"]["IoU"] == 100
    assert found["per_class"]["background"]["IoU"] == 0
    assert found["mIoU"] == found["mIoU_decided"] == pytest.approx((100 / 3 + 100 + 0) / 3)
    assert found["pixel_accuracy"] == pytest.approx(100 * 36 / 60)
    assert (found["per_class"]["cat"]["precision"], found["per_class"]["cat"]["recall"]) == (50, 50)
    assert (found["source"], found["supervision"], found["n_images"], found["uncertain"]) == ("cam", "image tags", 1, 0)


def test_images_are_summed_before_the_division(report, records):
    """Two images with the same class: 1 of 24 and 24 of 24 pixels found: 25 / 48, and not the mean of two IoUs."""
    ground_truths = [records.ground_truth(name, [LEFT]) for name in "ab"]
    found = report({"a": drawn(((0, 1, 0, 1), 1)), "b": drawn((LEFT, 1))}, ground_truths)
    assert found["per_class"]["cat"]["IoU"] == pytest.approx(100 * 25 / 48)


def test_void_pixels_do_not_count(report, records):
    void = np.zeros(SIZE, bool)
    void[:, 4:6] = True
    found = report({"a": drawn(((0, 6, 0, 6), 1))}, [records.ground_truth("a", [LEFT], void=void)])
    assert (found["per_class"]["cat"]["IoU"], found["n_pixels"]) == (100, 48)


def test_uncertain_pixels_are_background_in_one_number_and_left_out_in_the_other(report, records):
    """12 of 24 pixels of the cat are found, 12 are uncertain; background is right."""
    found = report({"a": drawn((LEFT, 1), ((0, 6, 0, 2), 255))}, [records.ground_truth("a", [LEFT])])
    assert found["per_class"]["cat"] == {"IoU": 50, "IoU_decided": 100, "precision": 100, "recall": 50, "uncertain": 50}
    assert found["mIoU"] == pytest.approx((50 + 100 * 36 / 48) / 2)
    assert found["mIoU_decided"] == 100
    assert found["uncertain"] == pytest.approx(20)
    assert found["pixel_accuracy"] == pytest.approx(80)
    assert found["pixel_accuracy_decided"] == 100


def test_a_class_that_neither_has_is_left_out_of_the_mean(report, records):
    found = report({"a": drawn((LEFT, 1))}, [records.ground_truth("a", [LEFT])])
    assert found["per_class"]["dog"]["IoU"] is None
    assert found["mIoU"] == 100
    wrong = report({"a": drawn((LEFT, 2))}, [records.ground_truth("a", [LEFT])])  # found, though not there: 0
    assert (wrong["per_class"]["dog"]["IoU"], wrong["mIoU"]) == (0, pytest.approx(100 / 3))


def test_a_class_of_a_single_pixel_counts_as_any(report, records):
    ground_truth = records.ground_truth("a", [LEFT, (0, 1, 9, 10)], [0, 1])
    found = report({"a": drawn((LEFT, 1), ((0, 1, 9, 10), 2))}, [ground_truth])
    assert (found["per_class"]["dog"]["IoU"], found["mIoU"]) == (100, 100)
    missed = report({"a": drawn((LEFT, 1))}, [ground_truth])
    assert (missed["per_class"]["dog"]["IoU"], missed["mIoU"]) == (0, pytest.approx((100 + 0 + 100 * 35 / 36) / 3))


def test_images_without_known_masks_are_left_out_and_counted(report, records):
    ground_truths = [records.ground_truth("a", [LEFT]), records.ground_truth("b", annotated=False)]
    found = report({"a": drawn((LEFT, 1)), "b": drawn(background=2)}, ground_truths)
    assert (found["n_images"], found["n_images_left_out"], found["mIoU"]) == (1, 1, 100)


def test_nothing_to_measure_is_null(report, records):
    found = report({"a": drawn()}, [records.ground_truth("a", annotated=False)])
    assert found["mIoU"] is found["pixel_accuracy"] is found["uncertain"] is None


def test_the_smaller_of_two_overlapping_instances_gives_the_class_and_crowds_are_void(records):
    ground_truth = records.ground_truth(
        "a", [(0, 6, 0, 8), (1, 3, 1, 3), (0, 6, 6, 10)], [0, 1, 1], crowd=[False, False, True]
    )
    labels = ground_truth.semantic_map
    np.testing.assert_array_equal(labels, drawn(((0, 6, 8, 10), 255), ((0, 6, 0, 8), 1), ((1, 3, 1, 3), 2)))
    assert labels.dtype == np.uint8
    unknown = records.ground_truth("b", annotated=False).semantic_map
    assert (unknown == 255).all()
    assert not records.ground_truth("c").semantic_map.any()


def test_numbers_agree_with_a_loop_over_pixels():
    generator = np.random.default_rng(0)
    annotated = generator.choice([0, 1, 2, 3, 255], 500).astype(np.uint8)
    labels = np.where(generator.random(500) < 0.6, annotated % 255, generator.choice([0, 1, 2, 3, 255], 500))
    found = numbers(confusion_matrix(annotated, labels.astype(np.uint8), 3), ["background", "a", "b", "c"])
    known = annotated != 255
    for undecided, key in [(0, "mIoU"), (None, "mIoU_decided")]:
        ious = []
        for k in range(4):
            keep = known & ((labels != 255) | (undecided is not None))
            said = np.where(labels == 255, 0, labels) == k
            both, either = (said & (annotated == k) & keep).sum(), ((said | (annotated == k)) & keep).sum()
            ious.append(both / either)
        assert found[key] == pytest.approx(100 * np.mean(ious))


@pytest.mark.parametrize(
    ("maps", "header", "message"),
    [
        pytest.param({"b": drawn()}, {}, "lacks 1 of the 1 images", id="other images"),
        pytest.param({"a": drawn()[:4]}, {}, r"the map of 'a' is \(4, 10\).* annotation is \(6, 10\)", id="other size"),
        pytest.param({"a": drawn(background=3)}, {}, "has labels above 2; remake", id="no class"),
        pytest.param({"a": drawn()}, {"classes": ["cat"]}, "has the classes", id="other classes"),
    ],
)
def test_what_does_not_fit_is_refused(report, records, maps, header, message):
    with pytest.raises(ValueError, match=message):
        report(maps, [records.ground_truth("a")], **header)
