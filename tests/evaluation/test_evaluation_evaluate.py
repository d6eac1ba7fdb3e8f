"""The step evaluate_instances from artifacts to metrics.json and the plot."""

import json
from pathlib import Path

import numpy as np
import pytest

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.storage import read
from stages.evaluation.evaluate_instances import evaluate_instances
from stages.evaluation.settings import InstanceMetricsSettings, PaintedMetricsSettings

pytestmark = pytest.mark.draws


@pytest.fixture
def evaluate(tmp_path: Path, settings, write, records):
    def evaluate(
        instances: Path, images: Path, ground_truth: Path, *, boxes: Path | None = None, score_threshold: float = 0.0,
        training: tuple[Path, Path] | None = None, **changed,
    ) -> dict:  # fmt: skip
        if boxes is None:  # none are known
            with read(instances, Instances) as found:
                unknown = [records.boxes(image, annotated=False) for image in found.ids]
                boxes = write(*unknown, kind=AnnotatedBoxes, classes=found.header["classes"])
        masks, semantic = settings.model_copy(update=changed), PaintedMetricsSettings(score_threshold=score_threshold)
        evaluate_instances(
            instances=instances, images=images, ground_truth=ground_truth, boxes=boxes,
            output_metrics=tmp_path / "metrics.json", output_plot=tmp_path / "curves.png",
            settings=InstanceMetricsSettings(masks=masks, semantic=semantic),
            training_instances=training[0] if training else None, training_boxes=training[1] if training else None,
        )  # fmt: skip
        assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
        return json.loads((tmp_path / "metrics.json").read_text())

    return evaluate


LEFT, RIGHT = (0, 4, 0, 4), (0, 4, 6, 10)


def test_metrics_hold_every_preset_in_percent(write, records, evaluate) -> None:
    # Two cats, of which one is found with IoU 12/16 = .75 and one not at all.
    found = write(records.instances("a", [(0, 3, 0, 4)]), records.instances("b"))
    ground_truth = write(records.ground_truth("a", [LEFT, RIGHT]), records.ground_truth("b"))
    metrics = evaluate(found, write(records.image("a"), records.image("b")), ground_truth)
    half = pytest.approx(50)
    at_101 = pytest.approx(100 * 51 / 101)
    assert metrics["masks"]["voc"] == {"mAP25": half, "mAP50": half, "mAP70": half, "mAP75": half}
    assert metrics["masks"]["sds"] == {"mAP25": half, "mAP50": half, "mAP70": half, "mAP75": 0}
    # Dog is absent: zero in the mean of cim.
    assert metrics["masks"]["cim"]["mAP50"] == pytest.approx(50 * 51 / 101)
    assert metrics["masks"]["coco"]["AP50"] == at_101
    assert metrics["masks"]["coco"]["AP"] == pytest.approx(100 * 51 / 101 * 6 / 10)  # .5 to .75
    assert {"AR1", "AR10", "AR100", "ARs", "ARm", "ARl"} < set(metrics["masks"]["coco"])
    assert metrics["masks"]["coco"]["AR100"] == pytest.approx(30)  # one of two, at six of ten IoU
    assert metrics["per_class"]["cat"]["coco"]["AR100"] == pytest.approx(30)
    assert metrics["masks"]["ABO"] == pytest.approx(37.5)
    assert metrics["per_class"]["cat"]["voc"]["AP50"] == half
    assert metrics["per_class"]["dog"]["voc"]["AP50"] is None
    assert metrics["per_class"]["dog"]["cim"]["AP50"] == 0
    assert metrics["per_class"]["dog"]["coco"]["AP"] is None


def test_metrics_say_what_was_measured(write, records, evaluate) -> None:
    found = write(records.instances("a", [LEFT]), records.instances("b", [LEFT]))
    ground_truth = write(
        records.ground_truth("a", [LEFT, RIGHT], crowd=[False, True]), records.ground_truth("b", annotated=False)
    )
    metrics = evaluate(found, write(records.image("a"), records.image("b")), ground_truth, void="ignore")
    expected = {
        "run": "cim", "method": "cim", "supervision": "image tags", "dataset": "toy", "split": "val", "n_images": 1,
        "n_images_left_out": 1, "n_instances": 1, "n_crowds": 1, "n_predictions": 1, "units": "percent",
    }  # fmt: skip
    assert {key: metrics[key] for key in expected} == expected
    assert metrics["treatment"]["void"].startswith("ignore")
    assert metrics["presets"]["cim"] == {
        "interpolation": "coco101", "match": "free", "strict": False, "absent": "zero", "limit": 100,
        "void": "ignore", "difficult": "count",
    }  # fmt: skip


def test_void_is_treated_alike_by_all_presets(write, records, evaluate) -> None:
    void = np.zeros((6, 10), bool)
    void[0:4, 4:6] = True
    found = write(records.instances("a", [(0, 4, 0, 6)]))  # IoU 16 / 24 with void as background, else 1
    ground_truth, images = write(records.ground_truth("a", [LEFT], void=void)), write(records.image("a"))
    masks = evaluate(found, images, ground_truth)["masks"]
    assert (masks["voc"]["mAP70"], masks["coco"]["AP75"], masks["ABO"]) == (0, 0, pytest.approx(200 / 3))
    masks = evaluate(found, images, ground_truth, void="ignore")["masks"]
    assert (masks["voc"]["mAP70"], masks["coco"]["AP75"], masks["ABO"]) == (100, pytest.approx(100), 100)


def test_no_prediction_at_all_is_zero(write, records, evaluate) -> None:
    metrics = evaluate(
        write(records.instances("a")), write(records.image("a")), write(records.ground_truth("a", [LEFT]))
    )
    assert {metrics["masks"][name]["mAP50"] for name in ("voc", "cim", "sds")} == {0}
    assert (metrics["masks"]["coco"]["AP"], metrics["masks"]["ABO"]) == (0, 0)


def test_no_known_mask_gives_null_and_says_so(write, records, evaluate, caplog) -> None:
    ground_truth = write(records.ground_truth("a", annotated=False))
    metrics = evaluate(write(records.instances("a", [LEFT])), write(records.image("a")), ground_truth)
    assert metrics["n_images"] == 0
    assert _numbers(metrics) == set()
    assert "nothing to measure them by" in caplog.text


def _numbers(metrics: dict) -> set:
    """All that is reported of masks but counts, without null."""
    masks, classes = metrics["masks"], metrics["per_class"].values()
    parts = [masks[name] for name in ("voc", "cim", "sds", "coco")]
    parts += [one[name] for one in classes for name in ("voc", "cim", "sds", "coco")]
    values = {value for part in parts for value in part.values()} | {masks["ABO"], masks["MABO"]}
    return values - {None}


def test_images_that_hold_no_instance_give_null(write, records, evaluate) -> None:
    metrics = evaluate(
        write(records.instances("a", [LEFT])), write(records.image("a")), write(records.ground_truth("a"))
    )
    assert metrics["n_images"] == 1
    assert _numbers(metrics) == set()


def test_what_is_found_in_an_image_without_an_instance_is_wrong(write, records, evaluate) -> None:
    """The cat is found second, after one in an image that shows none of the classes: precision 1/2 at its recall."""
    images = write(records.image("a"), records.image("b", (False, False), looked_at=True))
    ground_truth = write(records.ground_truth("a", [LEFT]), records.ground_truth("b"))
    right = records.instances("a", [LEFT], scores=[0.5])
    metrics = evaluate(write(right, records.instances("b")), images, ground_truth)
    assert {metrics["per_class"]["cat"][name]["AP50"] for name in ("voc", "cim", "sds")} == {100}
    metrics = evaluate(write(right, records.instances("b", [RIGHT], scores=[0.9])), images, ground_truth)
    assert metrics["n_images"] == 2
    for name in ("voc", "cim", "sds", "coco"):
        assert metrics["per_class"]["cat"][name]["AP50"] == pytest.approx(50), name


def test_logged_numbers_name_their_preset(write, records, evaluate, caplog) -> None:
    caplog.set_level("INFO")
    evaluate(write(records.instances("a", [LEFT])), write(records.image("a")), write(records.ground_truth("a", [LEFT])))
    for name in ("voc", "cim", "sds", "coco"):
        assert f"preset {name}: " in caplog.text


def test_images_may_stand_in_another_order(write, records, evaluate) -> None:
    ground_truth = write(records.ground_truth("a", [LEFT]), records.ground_truth("b", [RIGHT]))
    images = write(records.image("b"), records.image("a"))
    found = write(records.instances("b", [RIGHT]), records.instances("a", [LEFT]))
    assert evaluate(found, images, ground_truth)["masks"]["voc"]["mAP75"] == 100


def test_image_missing_in_the_ground_truth_is_named(write, records, evaluate) -> None:
    found, images = write(records.instances("a"), records.instances("b")), write(records.image("a"), records.image("b"))
    with pytest.raises(ValueError, match=r"ground_truth\.h5 lacks 1 of the 2 images of .*instances\.h5, such as 'b'"):
        evaluate(found, images, write(records.ground_truth("a")))


def test_image_missing_in_the_predictions_is_named(write, records, evaluate) -> None:
    ground_truth, images = (
        write(records.ground_truth("a"), records.ground_truth("b")),
        write(records.image("a"), records.image("b")),
    )
    with pytest.raises(ValueError, match=r"instances\.h5 lacks 1 of the 2 images"):
        evaluate(write(records.instances("a")), images, ground_truth)


def test_other_classes_are_named(write, records, evaluate) -> None:
    found = write(records.instances("a"), classes=["dog", "cat"])
    with pytest.raises(ValueError, match=r"\['dog', 'cat'\], but .*ground_truth\.h5 has \['cat', 'dog'\]"):
        evaluate(found, write(records.image("a")), write(records.ground_truth("a")))


def test_wrong_kind_is_refused_and_nothing_written(write, records, evaluate, tmp_path: Path) -> None:
    images, ground_truth = write(records.image("a")), write(records.ground_truth("a"))
    with pytest.raises(ValueError, match=f"expected '{Instances.KIND}'"):
        evaluate(images, images, ground_truth)
    assert not (tmp_path / "metrics.json").exists()


def test_hostile_class_names_do_not_break_the_plot(write, records, evaluate) -> None:
    classes = ["_a $x_{$ <b>", "$\\frac{"]
    found = write(records.instances("a", [LEFT]), classes=classes)
    images, ground_truth = (
        write(records.image("a"), classes=classes),
        write(records.ground_truth("a", [LEFT]), classes=classes),
    )
    assert evaluate(found, images, ground_truth)["per_class"][classes[0]]["voc"]["AP50"] == 100


def test_boxes_corloc_and_painted_instances_stand_beside_masks(write, records, evaluate) -> None:
    """One cat is found and one is not; the dog of the training split is localised, of two cats one."""
    found = write(records.instances("a", [LEFT]))
    boxes = write(records.boxes("a", [(0, 0, 4, 4), (6, 0, 10, 4)]))
    training = (
        write(records.instances("t", [LEFT, RIGHT], [0, 1]), records.instances("u", [RIGHT]), name="training"),
        write(
            records.boxes("t", [(0, 0, 4, 4), (6, 0, 10, 4)], [0, 1]), records.boxes("u", [(0, 0, 4, 4)]),
            records.boxes("x", annotated=False), name="training_boxes", split="train",
        ),
    )  # fmt: skip
    ground_truth, images = write(records.ground_truth("a", [LEFT, RIGHT])), write(records.image("a"))
    with pytest.raises(ValueError, match=r"training\.h5 lacks 1 of the 3 images of .*training_boxes\.h5, such as 'x'"):
        evaluate(found, images, ground_truth, boxes=boxes, training=training)
    training = (training[0], write(*[
        records.boxes("t", [(0, 0, 4, 4), (6, 0, 10, 4)], [0, 1]), records.boxes("u", [(0, 0, 4, 4)])
    ], name="training_boxes", split="train"))  # fmt: skip
    metrics = evaluate(found, images, ground_truth, boxes=boxes, training=training)
    assert metrics["boxes"] == {
        "voc07": {"AP50": pytest.approx(600 / 11)}, "voc12": {"AP50": 50}, "n_images": 1, "n_images_left_out": 0,
        "n_objects": 2, "n_difficult": 0, "n_crowds": 0,
    }  # fmt: skip
    assert metrics["corloc"] == 75
    assert metrics["corloc_on"] == {"split": "train", "n_images": 2, "n_images_left_out": 0}
    # 60 pixels: 28 of background and 16 of the one cat right, 16 of the other painted as background.
    assert metrics["semantic"]["IoU_background"] == pytest.approx(100 * 28 / 44)
    assert metrics["semantic"]["mIoU"] == pytest.approx(100 * (28 / 44 + 16 / 32) / 2)
    cat, dog = metrics["per_class"]["cat"], metrics["per_class"]["dog"]
    assert (cat["boxes"]["voc12"]["AP50"], cat["corloc"], cat["semantic"]["IoU"]) == (50, 50, 50)
    assert (dog["boxes"]["voc12"]["AP50"], dog["corloc"], dog["semantic"]["IoU"]) == (None, 100, None)
    assert metrics["unmeasured"] == {}
    assert metrics["box_presets"]["voc07"]["difficult"] == "ignore"
    assert {"boxes", "training_instances", "training_boxes"} < set(metrics["inputs"])


def test_images_without_masks_are_measured_by_boxes(write, records, evaluate) -> None:
    ground_truth = write(records.ground_truth("a", annotated=False))
    found, images = write(records.instances("a", [LEFT])), write(records.image("a"))
    metrics = evaluate(found, images, ground_truth, boxes=write(records.boxes("a", [(0, 0, 4, 4)])))
    assert metrics["boxes"]["voc12"]["AP50"] == 100
    assert metrics["masks"]["voc"]["mAP50"] is metrics["semantic"]["mIoU"] is None
    assert set(metrics["unmeasured"]) == {"semantic", "corloc"}


def test_what_is_not_measured_is_null_with_a_reason(write, records, evaluate, caplog) -> None:
    caplog.set_level("INFO")
    ground_truth = write(records.ground_truth("a", annotated=False))
    metrics = evaluate(write(records.instances("a", [LEFT])), write(records.image("a")), ground_truth)
    assert metrics["boxes"]["voc07"]["AP50"] is metrics["corloc"] is metrics["semantic"]["mIoU"] is None
    assert metrics["unmeasured"] == {
        "boxes": "no image of split val has known boxes",
        "corloc": "evaluation.corloc is false: the training split is not predicted for it",
        "semantic": "no image of the split has known masks",
    }
    assert "boxes not measured: no image of split val has known boxes" in caplog.text


def test_a_training_split_without_boxes_has_no_corloc(write, records, evaluate) -> None:
    training = (
        write(records.instances("t", [LEFT]), name="training"),
        write(records.boxes("t", annotated=False), name="training_boxes", split="train"),
    )
    ground_truth = write(records.ground_truth("a", [LEFT]))
    metrics = evaluate(
        write(records.instances("a", [LEFT])), write(records.image("a")), ground_truth, training=training
    )
    assert (metrics["corloc"], metrics["corloc_on"]["n_images_left_out"]) == (None, 1)
    assert metrics["unmeasured"]["corloc"] == "no image of split train has known boxes"


def test_training_instances_of_another_run_are_refused(write, records, evaluate) -> None:
    training = (
        write(records.instances("t"), name="training", run="prm"),
        write(records.boxes("t"), name="training_boxes", split="train"),
    )
    with pytest.raises(ValueError, match="is of run 'prm', expected 'cim'"):
        evaluate(
            write(records.instances("a")),
            write(records.image("a")),
            write(records.ground_truth("a")),
            training=training,
        )


def test_boxes_of_an_image_of_another_size_are_refused(write, records, evaluate) -> None:
    found, images, ground_truth = (
        write(records.instances("a")),
        write(records.image("a")),
        write(records.ground_truth("a")),
    )
    with pytest.raises(ValueError, match=r"image 'a': predictions are of \(6, 10\) .*annotated boxes of \(6, 9\)"):
        evaluate(found, images, ground_truth, boxes=write(records.boxes("a", size=(6, 9))))


def test_weak_instances_are_not_painted(write, records, evaluate) -> None:
    found = write(records.instances("a", [LEFT, (0, 6, 0, 10)], scores=[0.9, 0.2]))
    ground_truth, images = write(records.ground_truth("a", [LEFT])), write(records.image("a"))
    assert evaluate(found, images, ground_truth)["per_class"]["cat"]["semantic"]["IoU"] == pytest.approx(1600 / 60)
    metrics = evaluate(found, images, ground_truth, score_threshold=0.3)
    assert (metrics["semantic"]["mIoU"], metrics["semantic"]["score_threshold"]) == (100, 0.3)
    assert "score 0.3" in metrics["treatment"]["semantic"]


def test_void_does_not_count_in_the_painted_map(write, records, evaluate) -> None:
    void = np.zeros((6, 10), bool)
    void[0:4, 4:6] = True
    found = write(records.instances("a", [(0, 4, 0, 6)]))
    ground_truth = write(records.ground_truth("a", [LEFT], void=void))
    assert evaluate(found, write(records.image("a")), ground_truth)["semantic"]["mIoU"] == 100
