"""Galleries and marks in the configuration: what cannot be is named, and marks reach what leaves them out alone."""

import pytest

from stages.project.project import ConfigError
from tests.project.test_project_project import load

LEAVES_OUT = "runs: {cim: {retrain: mask_rcnn, mask_rcnn: {pseudo_masks: {drop_marked: [bad]}}}}\n"


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        pytest.param("inspection: {split: vall}", r"inspection.split is 'vall'; there are \['train', 'val'\]; did you mean `val`", id="split"),
        pytest.param("inspection: {marks: {cin: m.json}}", r"inspection.marks has the run 'cin'; there are .*did you mean `cim`", id="run"),
        pytest.param("inspection: {marks: {cim: 'm{x}.json'}}", r"inspection.marks.cim is 'm{x}.json': Snakemake reads braces", id="braces"),
        pytest.param(LEAVES_OUT, r"runs.cim leaves out what is marked, but inspection.marks has no file of 'cim'; save the marks from its gallery of split 'train'", id="no marks"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(overlay, message):
    with pytest.raises(ConfigError, match=message):
        load(overlay)


def test_galleries_read_neither_their_split_nor_the_marks():
    plain, marked = load("{}"), load("inspection: {split: train, marks: {cim: m.json}}")
    assert plain.inspection.gallery.canonical() == marked.inspection.gallery.canonical()


def test_marks_reach_the_pseudo_masks_that_leave_them_out_and_nothing_else(graph_of, tmp_path):
    (tmp_path / "m.json").write_text("{}")
    marks = "inspection: {split: train, marks: {cim: m.json}}\n"
    target = "results/shapes/cim/mask_rcnn/pseudo_masks/train.h5"
    plain = graph_of(marks + "runs: {cim: {retrain: mask_rcnn}}", target)
    assert not [job for job in plain if "m.json" in job.inputs]
    used = graph_of(marks + LEAVES_OUT, target)
    assert {job.rule for job in used if "m.json" in job.inputs} == {"make_pseudo_masks"}
    reported = graph_of(marks, "marks")
    assert {job.rule for job in reported if "m.json" in job.inputs} == {"report_marks"}
    assert any(
        path.endswith("cim/train/instances.h5") for job in reported if job.rule == "report_marks" for path in job.inputs
    )


def test_galleries_are_of_the_split_that_is_asked_for(graph_of):
    jobs = {job.rule: job for job in graph_of("inspection: {split: train}", "results/shapes/cim/gallery/index.html")}
    shown = jobs["build_gallery"].inputs
    assert "results/shapes/train/images.h5" in shown and "results/shapes/val/images.h5" not in shown
