"""The report on the pseudo masks that a network on top of a run trains on."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from stages.core.artifacts.instances import Instances
from stages.evaluation.report_masks import report_masks
from stages.evaluation.settings import PseudoMaskReportSettings

pytestmark = pytest.mark.draws

LEFT, RIGHT = (0, 4, 0, 4), (0, 4, 6, 10)
SETTINGS = PseudoMaskReportSettings(thresholds=[0.5, 0.8], void="background", difficult="count")
COUNTS = {"images": 3, "untagged": 0, "empty": 1, "masks": 2}


@pytest.fixture
def report(write, tmp_path):
    def report(masks, ground_truths, *, settings=SETTINGS, **header):
        found = write(*masks, kind=Instances, counts=COUNTS, **header)
        output, plot = tmp_path / "report.json", tmp_path / "plot.png"
        ground_truth = write(*ground_truths)
        report_masks(labels=[found], ground_truth=ground_truth, output=output, output_plot=plot, settings=settings)
        assert plot.read_bytes().startswith(b"\x89PNG")
        return json.loads(output.read_text())

    return report


def numbers(report, threshold, name=None):
    (entry,) = report["labels"]
    assert (entry["labels"], entry["update"]) == ("pseudo masks", 0)
    found = entry["thresholds"][threshold]
    found = found if name is None else found["per_class"][name]
    return tuple(found[kind] for kind in ("true_positives", "false_positives", "misses", "ignored"))


def test_true_positives_false_positives_and_misses(report, records):
    """Left: a mask with IoU 12 / 16 = 0.75 and a second on the same instance; right: found with the wrong class."""
    masks = records.instances("a", [(0, 3, 0, 4), LEFT, RIGHT], [0, 0, 0], [0.9, 0.8, 0.7])
    found = report([masks], [records.ground_truth("a", [LEFT, RIGHT], [0, 1])])
    assert numbers(found, "0.5") == (1, 2, 1, 0)
    assert numbers(found, "0.5", "cat") == (1, 2, 0, 0)
    assert numbers(found, "0.5", "dog") == (0, 0, 1, 0)
    assert numbers(found, "0.8") == (1, 2, 1, 0)  # the second mask fits exactly
    of_threshold = found["labels"][0]["thresholds"]["0.5"]
    assert (of_threshold["precision"], of_threshold["recall"]) == (pytest.approx(100 / 3), 50)
    assert of_threshold["per_class"]["dog"]["precision"] is None
    assert (found["run"], found["supervision"], found["made"]) == ("cim", "image tags", {"instances": COUNTS})


def test_images_that_are_left_out_or_empty_have_only_misses(report, records):
    """Of four images one is right, one was left out, one is a negative, one has no known masks."""
    masks = [records.instances("a", [LEFT]), records.instances("c"), records.instances("d", [LEFT])]
    ground_truths = [records.ground_truth(p, [LEFT, RIGHT], annotated=p != "d") for p in "abcd"]
    found = report(masks, ground_truths)
    assert numbers(found, "0.5") == (1, 0, 5, 0)
    assert (found["n_images"], found["n_images_left_out"]) == (3, 1)
    assert found["n_images_without_masks"] == {"instances": 2}


def test_masks_in_crowds_and_difficult_instances_are_ignored(report, records):
    masks = records.instances("a", [LEFT, RIGHT])
    ground_truth = records.ground_truth("a", [LEFT, RIGHT], crowd=[True, False], difficult=[False, True])
    ignoring = PseudoMaskReportSettings(thresholds=[0.5], void="background", difficult="ignore")
    assert numbers(report([masks], [ground_truth], settings=ignoring), "0.5") == (0, 0, 0, 2)
    assert numbers(report([masks], [ground_truth]), "0.5") == (1, 0, 0, 1)


def test_void_counts_as_the_settings_say(report, records):
    void = np.zeros((6, 10), bool)
    void[0:4, 4:6] = True
    masks, ground_truth = records.instances("a", [(0, 4, 0, 6)]), records.ground_truth("a", [LEFT], void=void)
    assert numbers(report([masks], [ground_truth]), "0.8") == (0, 1, 1, 0)
    ignoring = PseudoMaskReportSettings(thresholds=[0.8], void="ignore", difficult="count")
    assert numbers(report([masks], [ground_truth], settings=ignoring), "0.8") == (1, 0, 0, 0)


def test_nothing_to_measure_is_null(report, records):
    found = report([records.instances("a")], [records.ground_truth("a", annotated=False)])["labels"][0]["thresholds"][
        "0.5"
    ]
    assert found["precision"] is found["recall"] is None


@pytest.mark.parametrize(
    ("masks", "header", "message"),
    [
        pytest.param(["a", "z"], {}, "lacks 1 of the 2 images.*'z'", id="other images"),
        pytest.param(["a"], {"classes": ["cat"]}, "has the classes", id="other classes"),
    ],
)
def test_artifacts_that_do_not_fit_are_refused(report, records, masks, header, message):
    with pytest.raises(ValueError, match=message):
        report([records.instances(image) for image in masks], [records.ground_truth("a")], **header)


def test_plain_predictions_are_no_pseudo_masks(write, records, tmp_path):
    found, ground_truth = write(records.instances("a")), write(records.ground_truth("a"))
    with pytest.raises(ValueError, match="holds plain predictions; give pseudo masks"):
        report_masks(
            labels=[found],
            ground_truth=ground_truth,
            output=tmp_path / "a.json",
            output_plot=tmp_path / "a.png",
            settings=SETTINGS,
        )
    assert not list(tmp_path.glob("a.*"))


def test_an_artifact_without_masks_to_train_on_is_refused(write, records, tmp_path):
    ground_truth = write(records.ground_truth("a"))
    files = {"output": tmp_path / "a.json", "output_plot": tmp_path / "a.png"}
    with pytest.raises(ValueError, match="of kind 'ground_truth', which holds no masks to train on"):
        report_masks(labels=[ground_truth], ground_truth=ground_truth, settings=SETTINGS, **files)
    with pytest.raises(ValueError, match="no labels given"):
        report_masks(labels=[], ground_truth=ground_truth, settings=SETTINGS, **files)


def test_thresholds_lie_between_0_and_1():
    with pytest.raises(ValidationError):
        PseudoMaskReportSettings(thresholds=[1.0], void="background", difficult="count")
