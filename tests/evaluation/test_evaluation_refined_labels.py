"""The report on refined labels over the updates of a training, and on the pseudo instances that it starts from."""

import json

import numpy as np
import pytest

from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.regions import packed_fields
from stages.evaluation.report_masks import report_masks
from stages.evaluation.settings import PseudoMaskReportSettings
from stages.ops.regions import Regions
from tests.evaluation.conftest import SIZE, drawn

pytestmark = pytest.mark.draws

LEFT, RIGHT, HALF = (0, 4, 0, 4), (0, 4, 6, 10), (0, 2, 0, 4)
SETTINGS = PseudoMaskReportSettings(thresholds=[0.5, 0.8], void="background", difficult="count")


def pseudo(image, rectangles=(), classes=None):
    instances = np.zeros(SIZE, np.int32)
    for i, mask in enumerate(drawn(rectangles)):
        instances[mask] = 1 + i
    count = len(rectangles)
    return PseudoInstances(
        image=image, labels=np.zeros(SIZE, np.uint8), instances=instances, candidates=count + 1,
        classes=np.array(classes or [0] * count, np.int32), centroids=np.zeros((count, 2), np.float32),
        points=np.zeros((2, 2), np.float32), point_classes=np.zeros(2, np.int32), point_scores=np.ones(2, np.float32),
        by_points=False,
    )  # fmt: skip


def refined(image, *labels):
    """Labels as (update, rectangle, class, weight)."""
    return RefinedLabels(
        image=image,
        **packed_fields(Regions.from_masks(drawn([rectangle for _, rectangle, _, _ in labels]))),
        classes=np.array([label for _, _, label, _ in labels], np.int32),
        scores=np.array([weight for *_, weight in labels], np.float32),
        updates=np.array([update for update, *_ in labels], np.int32),
    )


@pytest.fixture
def report(write, tmp_path):
    def report(labels, starts, ground_truths, *, updates=(50, 100), settings=SETTINGS, run="bestie", **header):
        refined_labels = write(*labels, kind=RefinedLabels, updates=list(updates), **header)
        paths = [write(*starts, kind=PseudoInstances, run=run), refined_labels]
        ground_truth, output, plot = write(*ground_truths), tmp_path / "report.json", tmp_path / "plot.png"
        report_masks(labels=paths, ground_truth=ground_truth, output=output, output_plot=plot, settings=settings)
        assert plot.read_bytes().startswith(b"\x89PNG")
        return json.loads(output.read_text())

    return report


def numbers(report, threshold="0.5"):
    kinds = ("true_positives", "false_positives", "misses")
    return {
        entry["update"]: tuple(entry["thresholds"][threshold][kind] for kind in kinds) for entry in report["labels"]
    }


def test_counts_over_the_updates_start_with_the_accepted_pseudo_instances(report, records):
    """Figure 6: true positives grow from the accepted components."""
    labels = refined("a", (50, LEFT, 0, 0.9), (50, RIGHT, 0, 0.5), (100, LEFT, 0, 0.9), (100, RIGHT, 1, 0.9))
    found = report([labels], [pseudo("a", [HALF])], [records.ground_truth("a", [LEFT, RIGHT], [0, 1])])
    assert numbers(found) == {0: (1, 0, 1), 50: (1, 1, 1), 100: (2, 0, 0)}
    assert numbers(found, "0.8") == {0: (0, 1, 2), 50: (1, 1, 1), 100: (2, 0, 0)}
    assert [entry["labels"] for entry in found["labels"]] == ["accepted components", *["refined labels"] * 2]
    assert (found["run"], found["supervision"], found["n_images"]) == ("bestie", "image tags", 1)


def test_updates_and_images_without_labels_count_with_their_misses(report, records):
    ground_truths = [
        records.ground_truth("a", [LEFT]),
        records.ground_truth("b", [RIGHT]),
        records.ground_truth("c", annotated=False),
    ]
    labels = [refined("a"), refined("b", (100, RIGHT, 0, 0.1)), refined("c", (50, LEFT, 0, 1.0))]
    found = report(labels, [pseudo("a"), pseudo("b"), pseudo("c")], ground_truths)
    assert numbers(found) == {0: (0, 0, 2), 50: (0, 0, 2), 100: (1, 0, 1)}
    assert (found["n_images"], found["n_images_left_out"]) == (2, 1)


def test_nothing_annotated_gives_a_plot_and_no_shares(report, records):
    found = report([refined("a")], [pseudo("a")], [records.ground_truth("a", annotated=False)])
    assert found["labels"][0]["thresholds"]["0.5"]["precision"] is None


@pytest.mark.parametrize(
    ("header", "start", "message"),
    [
        pytest.param({"classes": ["dog", "cat"]}, "a", "has the classes", id="classes"),
        pytest.param({"run": "other"}, "a", "is of run 'other', .* of 'bestie'; give labels of one run", id="run"),
        pytest.param({}, "b", "lacks 1 of the 1 images", id="images"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(report, records, tmp_path, header, start, message):
    with pytest.raises(ValueError, match=message):
        report([refined("a")], [pseudo(start)], [records.ground_truth("a", [LEFT])], **header)
    assert not (tmp_path / "report.json").exists()


def test_the_report_on_accepted_components_counts_what_there_was(write, records, tmp_path):
    starts, output = [pseudo("a", [LEFT, RIGHT], [0, 0]), pseudo("b", [LEFT])], tmp_path / "report.json"
    ground_truths = [records.ground_truth("a", [LEFT, RIGHT], [0, 1]), records.ground_truth("b", annotated=False)]
    report_masks(
        labels=[write(*starts, run="bestie", cues="pam")], ground_truth=write(*ground_truths), output=output,
        output_plot=tmp_path / "plot.png", settings=SETTINGS,
    )  # fmt: skip
    found = json.loads(output.read_text())
    assert found["cues_from"] == "pam"
    counts = found["labels"][0]["thresholds"]["0.5"]
    assert (counts["true_positives"], counts["false_positives"], counts["misses"]) == (1, 1, 1)
    assert found["made"]["pseudo instances"] == {
        "cues": 4, "candidates": 5, "accepted": 3, "cues_measured": 2, "candidates_measured": 3, "accepted_measured": 2
    }  # fmt: skip
