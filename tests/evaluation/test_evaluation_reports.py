"""Reports on proposals, cues and cluster labels."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from stages.evaluation.report_cluster_labels import report_cluster_labels
from stages.evaluation.report_cues import classification_average_precision, report_cues
from stages.evaluation.report_proposals import report_proposals
from stages.evaluation.settings import (
    ClusterLabelReportSettings,
    MaskMetricsSettings,
    ProposalReportSettings,
)

pytestmark = pytest.mark.draws

LEFT, RIGHT = (0, 4, 0, 4), (0, 4, 6, 10)
PROPOSALS = ProposalReportSettings(
    recall_thresholds=[0.5, 0.75, 0.9], average_recall_thresholds=[0.5, 0.6, 0.7, 0.8], numbers=[1, 2, 5, 50],
    void="ignore", difficult="count",
)  # fmt: skip
LABELS = ClusterLabelReportSettings(overlap=0.5, void="background", difficult="count")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def _report_proposals(output: Path, proposals: Path, ground_truth: Path) -> dict:
    report_proposals(
        proposals=proposals, ground_truth=ground_truth, output=output, output_plot=output.with_suffix(".svg"),
        settings=PROPOSALS,
    )  # fmt: skip
    assert "</svg>" in output.with_suffix(".svg").read_text()
    return json.loads(output.read_text())


def test_proposals_are_measured_whatever_their_class(write, records, output: Path) -> None:
    # Best overlaps: left 12/16 = .75, right 0 (no proposal touches it); the image without masks only counts.
    found = write(records.proposals("a", [(0, 3, 0, 4), (0, 1, 0, 1)]), records.proposals("b"))
    ground_truth = write(records.ground_truth("a", [LEFT, RIGHT], [0, 1]), records.ground_truth("b", annotated=False))
    report = _report_proposals(output, found, ground_truth)
    assert (report["ABO"], report["MABO"]) == (37.5, 37.5)
    assert report["recall"] == {"0.5": 50, "0.75": 50, "0.9": 0}
    assert report["AR"] == pytest.approx(100 * (0.5 + 0.5 + 0.5 + 0) / 4)
    assert report["proposals"] == {"total": 2, "mean": 1, "min": 0, "max": 2, "images_without": 1}
    assert (report["source"], report["supervision"]) == ("heg", "label-free")
    assert (report["n_images"], report["n_images_left_out"], report["n_instances"]) == (1, 1, 2)
    assert report["per_class"]["cat"] == {"n_instances": 1, "ABO": 75}


def test_recall_grows_with_the_number_of_proposals(write, records, output: Path) -> None:
    """The fifth proposal of a finds its left instance, the second of b its own; the third of b is better still."""
    nothing = (5, 6, 8, 9)
    found = write(
        records.proposals("a", [nothing] * 4 + [LEFT, nothing]),
        records.proposals("b", [nothing, (0, 2, 6, 10), (0, 3, 6, 10)]),
    )
    truth = write(records.ground_truth("a", [LEFT, RIGHT]), records.ground_truth("b", [RIGHT]))
    over = _report_proposals(output, found, truth)["recall_over_number"]
    assert over["numbers"] == [1, 2, 5, 6]  # 50 is beyond the largest number, 6
    third = pytest.approx(100 / 3)
    assert over["recall"]["0.5"] == [0, third, pytest.approx(200 / 3), pytest.approx(200 / 3)]
    assert over["recall"]["0.75"] == [0, 0, pytest.approx(200 / 3), pytest.approx(200 / 3)]
    assert over["recall"]["0.9"] == [0, 0, third, third]
    # IoU .5 with two: right at one of four thresholds; then 1 (at all four) and .75 (at three).
    assert over["AR"] == [0, pytest.approx(100 / 12), pytest.approx(700 / 12), pytest.approx(700 / 12)]


def test_the_best_proposals_are_those_of_the_highest_scores(write, records, output: Path) -> None:
    found = dataclasses.replace(records.proposals("a", [RIGHT, LEFT]), scores=np.array([0.1, 0.9], np.float32))
    over = _report_proposals(output, write(found), write(records.ground_truth("a", [LEFT])))["recall_over_number"]
    assert over["recall"]["0.9"] == [100, 100]


def test_without_a_proposal_recall_is_over_no_number(write, records, output: Path) -> None:
    report = _report_proposals(output, write(records.proposals("a")), write(records.ground_truth("a", [LEFT])))
    assert report["recall_over_number"] == {"numbers": [], "recall": {"0.5": [], "0.75": [], "0.9": []}, "AR": []}
    assert (report["ABO"], report["AR"]) == (0, 0)


def test_proposals_of_void_and_crowds(write, records, output: Path) -> None:
    void = np.zeros((6, 10), bool)
    void[0:4, 4] = True
    ground_truth = write(records.ground_truth("a", [LEFT, RIGHT], crowd=[False, True], void=void))
    found = write(records.proposals("a", [(0, 4, 0, 5)]))
    report = _report_proposals(output, found, ground_truth)
    assert (report["ABO"], report["n_instances"]) == (100, 1)


def test_report_without_instances_is_null(write, records, output: Path) -> None:
    found, ground_truth = write(records.proposals("a", [LEFT])), write(records.ground_truth("a", annotated=False))
    report = _report_proposals(output, found, ground_truth)
    assert report["ABO"] is report["AR"] is report["recall"]["0.5"] is None
    assert report["recall_over_number"]["AR"] == [None]


def test_classification_ap_is_the_area_below_the_envelope() -> None:
    # cat: order right, wrong, right: precision 1, 1/2, 2/3 at recalls 1/2, 1/2, 1. dog: no image is tagged.
    tags = np.array([[True, False], [False, False], [True, False]])
    scores = np.array([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(classification_average_precision(scores, tags), [5 / 6, np.nan])


def test_cues_report_classification_of_images_that_somebody_looked_at(write, records, output: Path) -> None:
    images = write(
        records.image("a", (True, False)), records.image("b", (False, True)), records.image("c", (False, False)),
        records.image("d", (False, False), looked_at=True),
    )  # fmt: skip
    cues = write(
        records.cues("b", (-1, 2)), records.cues("a", (1, 1)), records.cues("c", (9, 9)), records.cues("d", (0, 3))
    )
    report_cues(images=images, cues=cues, output=output)
    report = json.loads(output.read_text())
    assert report["classification"]["per_class"]["cat"] == {"AP": 100, "n_tagged": 1}
    assert report["classification"]["per_class"]["dog"] == {"AP": 50, "n_tagged": 1}
    found = report["classification"]
    assert (found["mAP"], found["n_images"], found["n_images_negative"], found["n_images_unknown"]) == (75, 3, 1, 1)
    assert report["pointing"] is None


def test_cues_report_what_peaks_hit(write, records, output: Path) -> None:
    # Two cats, one hit; a weaker peak on the background; a peak of the untagged class; a peak in a crowd of cats.
    ground_truth = write(records.ground_truth("a", [LEFT, (5, 6, 0, 2), RIGHT], crowd=[False, False, True]))
    peaks, classes = [(1, 1), (5, 5), (1, 7), (1, 1)], [0, 0, 0, 1]
    cues = write(records.cues("a", (1, 1), peaks, classes, [3.0, 2.0, 1.0, 9.0]))
    report_cues(images=write(records.image("a")), cues=cues, output=output, ground_truth=ground_truth)
    pointing = json.loads(output.read_text())["pointing"]
    assert (pointing["n_peaks"], pointing["n_instances"]) == (2, 2)
    assert (pointing["peaks_in_instances"], pointing["instances_hit"], pointing["strongest_peak_hits"]) == (50, 50, 100)


def test_pointing_counts_a_class_without_a_peak_as_missed(write, records, output: Path) -> None:
    ground_truth = write(records.ground_truth("a", [LEFT, RIGHT], [0, 1]))
    cues = write(records.cues("a", (1, 1), [(5, 9)], [1]))
    report_cues(images=write(records.image("a", (True, True))), cues=cues, output=output, ground_truth=ground_truth)
    pointing = json.loads(output.read_text())["pointing"]
    assert pointing["strongest_peak_hits"] == 0
    assert pointing["per_class"]["cat"] == {
        "strongest_peak_hits": 0, "peaks_in_instances": None, "instances_hit": 0
    }  # fmt: skip


def test_points_have_no_classification(write, records, output: Path) -> None:
    cues = write(records.cues("a"), supervision="points")
    report_cues(images=write(records.image("a")), cues=cues, output=output)
    assert json.loads(output.read_text())["classification"] is None


def test_cluster_labels_are_measured_by_hand(write, records, output: Path) -> None:
    # Cluster 1 (cat): IoU 1 and 8/16; cluster 2 (dog): 4/16 of the dog; then background and an ignored proposal.
    rectangles = [LEFT, (0, 2, 0, 4), (0, 1, 6, 10), (5, 6, 0, 9), (4, 6, 0, 9)]
    labels = write(records.cluster_labels("a", [1, 1, 2, 3, 0], [0, 0, 1, -1, -1]))
    ground_truth = write(records.ground_truth("a", [LEFT, RIGHT, (4, 6, 4, 6)], [0, 1, 0]))
    report_cluster_labels(
        cluster_labels=labels, proposals=write(records.proposals("a", rectangles)), ground_truth=ground_truth, output=output,
        settings=LABELS,
    )  # fmt: skip
    report = json.loads(output.read_text())
    assert report["precision"] == pytest.approx(200 / 3)
    assert report["recall"] == pytest.approx(100 / 3)
    assert report["clusters"] == {"count": 2, "best_iou": 62.5, "mean_iou": 50}
    assert report["proposals"] == {"labelled": 3, "background": 1, "ignored": 1, "labelled_in_crowds": 0}
    assert report["per_class"]["dog"] == {
        "precision": 0, "recall": 0, "best_iou": 25, "mean_iou": 25, "n_instances": 1, "n_clusters": 1
    }  # fmt: skip


def test_a_label_of_another_class_is_wrong_however_well_it_fits(write, records, output: Path) -> None:
    labels = write(records.cluster_labels("a", [1], [1]))
    proposals, ground_truth = write(records.proposals("a", [LEFT])), write(records.ground_truth("a", [LEFT], [0]))
    report_cluster_labels(
        cluster_labels=labels, proposals=proposals, ground_truth=ground_truth, output=output, settings=LABELS
    )
    report = json.loads(output.read_text())
    assert (report["precision"], report["recall"], report["clusters"]["best_iou"]) == (0, 0, 0)


def test_labels_in_a_crowd_are_neither_right_nor_wrong(write, records, output: Path) -> None:
    labels = write(records.cluster_labels("a", [1, 1], [0, 0]))
    proposals = write(records.proposals("a", [LEFT, (0, 2, 6, 8)]))
    ground_truth = write(records.ground_truth("a", [LEFT, RIGHT], crowd=[False, True]))
    report_cluster_labels(
        cluster_labels=labels, proposals=proposals, ground_truth=ground_truth, output=output, settings=LABELS
    )
    report = json.loads(output.read_text())
    assert (report["precision"], report["recall"], report["proposals"]["labelled_in_crowds"]) == (100, 100, 1)


def test_labels_of_other_proposals_are_refused(write, records, output: Path) -> None:
    paths = {
        "cluster_labels": write(records.cluster_labels("a", [1], [0])), "proposals": write(records.proposals("a")),
        "ground_truth": write(records.ground_truth("a")),
    }  # fmt: skip
    with pytest.raises(ValueError, match="image 'a': 1 cluster labels for 0 proposals"):
        report_cluster_labels(**paths, output=output, settings=LABELS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"thresholds": [0.5, 0.25]}, "expected them ascending"),
        ({"thresholds": [0.5, 0.505]}, "expected whole percents"),
        ({"thresholds": [0.25]}, "is none of thresholds"),
        ({"thresholds": [0.5, 1.0]}, "less than 1"),
        ({"void": "count"}, "background"),
        ({"curve_preset": "coco"}, "curve_preset"),
    ],
    ids=["order", "percents", "curve", "range", "void", "preset"],
)
def test_impossible_settings_are_refused(settings: MaskMetricsSettings, changed: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MaskMetricsSettings.model_validate(settings.model_dump() | changed)
