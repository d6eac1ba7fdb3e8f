"""The step evaluate_instances from artifacts to metrics.json and the plot."""

import json
from pathlib import Path

import numpy as np
import pytest

from stages.core.artifacts.instances import Instances
from stages.evaluation.evaluate_instances import evaluate_instances


@pytest.fixture
def evaluate(tmp_path: Path, settings):
    def evaluate(instances: Path, images: Path, ground_truth: Path, **changed) -> dict:
        evaluate_instances(
            instances=instances, images=images, ground_truth=ground_truth, output_metrics=tmp_path / "metrics.json",
            output_plot=tmp_path / "curves.png", settings=settings.model_copy(update=changed),
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
    assert metrics["masks"]["voc"]["mAP50"] is metrics["masks"]["coco"]["AP"] is metrics["masks"]["ABO"] is None
    assert "nothing to measure them by" in caplog.text


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
