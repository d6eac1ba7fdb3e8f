"""The step chart_instances: small cases counted by hand, and pictures of hostile names."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from stages.evaluation.chart_instances import chart_instances
from stages.evaluation.settings import ChartSettings, ChartsSettings

PICTURES = ("classes", "errors", "reliability", "sizes", "overlaps")
HOSTILE = ["<script>alert(1)</script>", "a \"quoted\" $x$\n--> 'name' Größe 猫"]
LEFT, RIGHT = (0, 4, 0, 4), (0, 4, 6, 10)


@pytest.fixture
def chart(tmp_path: Path, settings, write, records):
    def chart(found: list, annotated: list, *, bins: int = 2, groups: int = 2, classes=None, run="cim", **changed):
        header = {} if classes is None else {"classes": classes}
        chart_instances(
            instances=write(*found, **header, run=run),
            images=write(*(records.image(one.image) for one in found), **header),
            ground_truth=write(*annotated, **header),
            output=tmp_path / "charts.json",
            **{f"output_{name}": tmp_path / f"{name}.svg" for name in PICTURES},
            settings=ChartSettings(
                masks=settings.model_copy(update=changed),
                charts=ChartsSettings(score_bins=bins, overlap_bins=4, size_groups=groups),
            ),
        )
        return json.loads((tmp_path / "charts.json").read_text())

    return chart


def counts_of(tally: dict) -> dict:
    return {kind: count for kind, count in tally["counts"].items() if count}


def test_kinds_of_errors_are_counted_by_hand(records, chart) -> None:
    """Image a: the left cat found twice, a dog drawn over the right cat. Image b: a part of a dog, and background."""
    found = [
        records.instances("a", [LEFT, (0, 3, 0, 4), RIGHT], [0, 0, 1], [0.9, 0.8, 0.3]),
        records.instances("b", [(0, 1, 0, 4), (5, 6, 5, 10)], [1, 0], [0.7, 0.1]),
    ]
    data = chart(found, [records.ground_truth("a", [LEFT, RIGHT]), records.ground_truth("b", [LEFT], [1])])
    predictions, instances = data["errors"]["predictions"], data["errors"]["instances"]
    assert counts_of(predictions["all"]) == {"right": 1, "duplicate": 1, "class": 1, "part": 1, "background": 1}
    assert predictions["all"]["percent"]["right"] == pytest.approx(20)
    # Three instances, so the three best of all images: 0.9, 0.8, 0.7.
    assert counts_of(predictions["strongest"]) == {"right": 1, "duplicate": 1, "part": 1}
    assert predictions["strongest"]["per_class"]["dog"]["part"] == 1
    assert predictions["all"]["per_class"]["dog"]["class"] == 1
    assert counts_of(instances) == {"right": 1, "class": 1, "part": 1}
    assert (instances["total"], instances["found"], instances["found_percent"]) == (3, 1, pytest.approx(100 / 3))
    assert instances["per_class"]["cat"] == {
        "right": 1, "class": 1, "grouped": 0, "part": 0, "loose": 0, "poor": 0, "missed": 0
    }  # fmt: skip


def test_the_strongest_prediction_on_an_instance_speaks_for_it_and_a_weaker_one_finds_it(records, chart) -> None:
    found = [records.instances("a", [(0, 1, 0, 4), LEFT], scores=[0.9, 0.2])]
    instances = chart(found, [records.ground_truth("a", [LEFT, RIGHT])])["errors"]["instances"]
    assert counts_of(instances) == {"part": 1, "missed": 1}
    assert instances["found"] == 1


def test_the_order_of_predictions_in_the_file_does_not_matter(records, chart) -> None:
    ground_truth = [records.ground_truth("a", [LEFT, RIGHT])]
    best_first = chart([records.instances("a", [LEFT, (0, 1, 0, 4)], scores=[0.9, 0.2])], ground_truth)
    best_last = chart([records.instances("a", [(0, 1, 0, 4), LEFT], scores=[0.2, 0.9])], ground_truth)
    assert counts_of(best_first["errors"]["instances"]) == {"right": 1, "missed": 1}
    best_first.pop("inputs"), best_last.pop("inputs")
    assert best_first == best_last


def test_images_without_known_masks_are_left_out(records, chart) -> None:
    found = [records.instances("a", [LEFT]), records.instances("b", [LEFT])]
    data = chart(found, [records.ground_truth("a", [LEFT]), records.ground_truth("b", annotated=False)])
    assert (data["n_images"], data["n_images_left_out"]) == (1, 1)
    assert data["errors"]["predictions"]["all"]["total"] == 1


@pytest.mark.parametrize("changed", [{}, {"difficult": "ignore"}], ids=["crowd", "difficult"])
def test_instances_that_do_not_count_are_neither_found_nor_missed(records, chart, changed) -> None:
    mark = {"difficult" if changed else "crowd": [False, True]}
    found = [records.instances("a", [RIGHT, LEFT], scores=[0.9, 0.8])]
    data = chart(found, [records.ground_truth("a", [LEFT, RIGHT], **mark)], **changed)
    assert counts_of(data["errors"]["instances"]) == {"right": 1}
    assert counts_of(data["errors"]["predictions"]["all"]) == {"right": 1, "crowd": 1}
    assert data["reliability"]["n_predictions"] == 1
    assert data["per_class"]["cat"] == {"n_instances": 1, "AP": 100}


def test_what_lies_in_a_crowd_says_nothing_of_an_instance_that_it_touches(records, chart) -> None:
    """Half of the prediction lies in the crowd, a quarter in the instance: IoU 8 / 40."""
    truth = [records.ground_truth("a", [LEFT, RIGHT], crowd=[False, True])]
    errors = chart([records.instances("a", [(0, 4, 2, 10)])], truth)["errors"]
    assert counts_of(errors["predictions"]["all"]) == {"crowd": 1}
    assert counts_of(errors["instances"]) == {"missed": 1}


def test_reliability_is_counted_by_hand(records, chart) -> None:
    """Scores 0.8 (right) and 0.6 (wrong) in the upper bin, 0.2 (wrong) in the lower: ECE = 2/3 |1/2 - 0.7| + 1/3 0.2."""
    found = [records.instances("a", [LEFT, (5, 6, 0, 9), (5, 6, 0, 3)], scores=[0.8, 0.6, 0.2])]
    reliability = chart(found, [records.ground_truth("a", [LEFT])])["reliability"]
    assert reliability["ECE"] == pytest.approx(100 * (2 / 3 * 0.2 + 1 / 3 * 0.2), rel=1e-5)
    low, high = reliability["bins"]
    assert (low["from"], low["to"], low["count"], low["right"]) == (0, 0.5, 1, 0)
    assert (high["count"], high["right"], high["mean_score"]) == (2, 50, pytest.approx(0.7))


def test_a_score_of_one_stands_in_the_last_bin_and_an_edge_in_the_upper(records, chart) -> None:
    found = [records.instances("a", [LEFT, RIGHT], scores=[1.0, 0.5])]
    reliability = chart(found, [records.ground_truth("a", [LEFT])], bins=4)["reliability"]
    assert [one["count"] for one in reliability["bins"]] == [0, 0, 1, 1]
    assert reliability["bins"][0] == {"from": 0, "to": 0.25, "count": 0, "mean_score": None, "right": None}


@pytest.mark.draws
def test_scores_that_are_no_shares_have_bins_of_their_own_and_no_calibration_error(records, chart) -> None:
    found = [records.instances("a", [LEFT, RIGHT], scores=[12.0, 4.0])]
    reliability = chart(found, [records.ground_truth("a", [LEFT])])["reliability"]
    assert (reliability["scores_are_shares"], reliability["ECE"]) == (False, None)
    assert [(one["from"], one["to"], one["count"]) for one in reliability["bins"]] == [(4, 8, 1), (8, 12, 1)]


def test_average_precision_by_size_leaves_other_sizes_out(records, chart) -> None:
    """Two small instances of 4 pixels (one found), two large of 16 (both found); a large error below a small hit."""
    small, missed = (0, 2, 0, 2), (4, 6, 0, 2)
    found = [
        records.instances("a", [LEFT, RIGHT], scores=[0.9, 0.8]),
        records.instances("b", [(0, 6, 4, 10), small, (4, 5, 8, 10)], scores=[0.95, 0.7, 0.6]),
    ]
    sizes = chart(found, [records.ground_truth("a", [LEFT, RIGHT]), records.ground_truth("b", [small, missed])])[
        "sizes"
    ]
    assert sizes == {
        "units": "pixels",
        "groups": [
            {"from": 4, "to": 4, "n_instances": 2, "AP": 50},
            {"from": 16, "to": 16, "n_instances": 2, "AP": 100},
        ],
    }


def test_sizes_part_instances_by_the_quantiles_of_their_areas(records, chart) -> None:
    """Areas 4, 6, 16, 24. Wrong are 36 pixels (larger than all), 2 (smaller), and 18, which counts with the large."""
    a, b, c, d = (0, 2, 0, 2), (4, 6, 0, 3), (0, 4, 4, 8), (0, 6, 0, 4)
    found = [
        records.instances("a", [(0, 6, 4, 10), (0, 3, 4, 10), a], scores=[0.95, 0.93, 0.7]),
        records.instances("b", [c, (5, 6, 8, 10), (0, 5, 0, 4), d], scores=[0.9, 0.8, 0.75, 0.6]),
    ]
    small, large = chart(found, [records.ground_truth("a", [a, b]), records.ground_truth("b", [c, d])])["sizes"][
        "groups"
    ]
    assert small == {"from": 4, "to": 6, "n_instances": 2, "AP": 50}
    # Precision 0, 1/2, 2/3: the envelope is 2/3 at both recalls.
    assert large == {"from": 16, "to": 24, "n_instances": 2, "AP": pytest.approx(200 / 3)}


def test_instances_of_one_area_are_never_parted(records, chart) -> None:
    truth = [records.ground_truth("a", [LEFT, RIGHT]), records.ground_truth("b", [LEFT, (5, 6, 0, 2)])]
    data = chart([records.instances("a"), records.instances("b")], truth, groups=4)
    assert [(g["from"], g["to"], g["n_instances"]) for g in data["sizes"]["groups"]] == [(2, 2, 1), (16, 16, 3)]


def test_best_overlaps_are_a_histogram_with_a_bar_for_none(records, chart) -> None:
    found = [records.instances("a", [(0, 3, 0, 4), (0, 4, 6, 10)], [0, 1])]  # IoU 3/4 is in the last of four bins
    overlaps = chart(found, [records.ground_truth("a", [LEFT, RIGHT])])["overlaps"]
    assert (overlaps["counts"], overlaps["none"]) == ([0, 0, 0, 1], 1)
    assert (overlaps["percent"], overlaps["none_percent"]) == ([0, 0, 0, 50], 50)


def test_precision_over_recall_and_the_bars_of_classes_are_of_the_curves_preset(records, chart) -> None:
    """The left cat is found after a wrong one: precision 1/2 up to recall 1/2, none beyond."""
    found = [records.instances("a", [(5, 6, 0, 9), LEFT], scores=[0.9, 0.5])]
    data = chart(found, [records.ground_truth("a", [LEFT, RIGHT])])
    assert data["per_class"] == {"cat": {"n_instances": 2, "AP": 25}, "dog": {"n_instances": 0, "AP": None}}
    assert (data["mean"], data["preset"], data["overlap"]) == (25, "voc", 0.5)
    curves = data["precision_recall"]
    assert curves["mean"]["0.5"] == curves["per_class"]["cat"] == [50.0] * 51 + [0.0] * 50
    assert curves["per_class"]["dog"] is None


@pytest.mark.draws
@pytest.mark.parametrize("annotated", [True, False], ids=["no instance", "masks not known"])
def test_where_nothing_is_measured_there_are_nulls_and_pictures_that_say_so(
    records, chart, tmp_path, annotated
) -> None:
    data = chart([records.instances("a")], [records.ground_truth("a", annotated=annotated)])
    assert data["mean"] is None
    assert data["per_class"]["cat"]["AP"] is None
    assert data["errors"]["instances"]["percent"] is None
    assert data["reliability"]["ECE"] is None
    assert data["sizes"]["groups"] == []
    assert data["overlaps"]["percent"] is None
    assert set(data["precision_recall"]["mean"].values()) == {None}
    assert "nothing to measure" in (tmp_path / "sizes.svg").read_text()


@pytest.mark.draws
def test_pictures_hold_hostile_names_as_text(records, chart, tmp_path) -> None:
    found = [records.instances("a", [LEFT, RIGHT], [0, 1])]
    chart(found, [records.ground_truth("a", [LEFT, RIGHT], [0, 1])], classes=HOSTILE, run="<b>&'\"$_")
    for name in PICTURES:
        text = (tmp_path / f"{name}.svg").read_text()
        tags = {
            element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter() if isinstance(element.tag, str)
        }
        assert not tags & {"script", "b", "a"}
        assert "<b>&'\"$_ on toy val, 1 images" in "".join(ET.fromstring(text).itertext())
    shown = "".join(ET.fromstring((tmp_path / "classes.svg").read_text()).itertext())
    assert "<script>alert(1)</script> (1)" in shown
    assert "猫" in shown


@pytest.mark.draws
def test_equal_numbers_give_equal_pictures(records, chart, tmp_path) -> None:
    arguments = [records.instances("a", [LEFT])], [records.ground_truth("a", [LEFT])]
    chart(*arguments)
    before = {name: (tmp_path / f"{name}.svg").read_bytes() for name in PICTURES}
    chart(*arguments)
    assert before == {name: (tmp_path / f"{name}.svg").read_bytes() for name in PICTURES}


def test_predictions_of_another_size_are_refused(records, chart) -> None:
    found = [records.instances("a", [LEFT], size=(8, 8))]
    with pytest.raises(ValueError, match="image 'a': predictions and ground truth do not fit"):
        chart(found, [records.ground_truth("a", [LEFT])])


def test_void_is_taken_out_where_the_settings_say_so(records, chart) -> None:
    void = np.zeros((6, 10), bool)
    void[0:4, 4:8] = True
    found = [records.instances("a", [(0, 4, 0, 9)])]  # 36 pixels, 16 of them the cat's, 16 void
    truth = [records.ground_truth("a", [LEFT], void=void)]
    assert counts_of(chart(found, truth)["errors"]["instances"]) == {"loose": 1}
    assert counts_of(chart(found, truth, void="ignore")["errors"]["instances"]) == {"right": 1}
