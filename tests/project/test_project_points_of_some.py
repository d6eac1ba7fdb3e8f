"""`cues: points_or_<classifier>`: which runs may say so, and what the graph makes for them."""

import copy
from pathlib import Path

import pytest
import yaml

from stages.project.graph import classifiers_in_use, cues_in_use
from stages.project.overlays import merged
from stages.project.project import ConfigError, load_project

BASE = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())


def load(overlay):
    return load_project(merged(copy.deepcopy(BASE), yaml.safe_load(overlay)))


def test_a_run_names_the_classifier_of_the_images_without_points():
    project = load("runs: {cim: {cues: points_or_prm}, bestie: {cues: points_or_pam}, prm: null, label_penet: null}")
    assert project.runs["cim"].classifier == "prm"
    assert cues_in_use(project) == ["cam", "points_or_pam", "points_or_prm"]
    assert classifiers_in_use(project) == ["cam", "pam", "prm"]


def test_of_points_alone_there_is_no_classifier():
    overlay = "runs: {cim: {cues: points, retrain: none, cim: {train: {backbone: {weights: none}}}}}"
    run = load(overlay).runs["cim"]
    assert run.classifier is None and not run.partly


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ("runs: {cim: {cues: points_or_prn}}", "runs.cim.cues is 'points_or_prn'; there are .*did you mean `points_or_prm`"),
        ("runs: {cim: {cues: points_or_}}", "runs.cim.cues is 'points_or_'; there are"),
        ("runs: {cim: {cues: points_or_points}}", "runs.cim.cues is 'points_or_points'; there are"),
        ("runs: {prm: {cues: points_or_cam}}", "method prm needs a classifier's response maps"),
        ("runs: {label_penet: {cues: points_or_cam}}", "method label_penet reads no points; set 'cam'"),
        (
            "runs: {bestie: {cues: points_or_pam, bestie: {predict: {use_points: true, use_tags: true}}}}",
            "use_points is true, but cues are 'points_or_pam'; set cues: points, of all images",
        ),
        (
            "runs: {cim: {cues: points_or_cam, trained: {network: a.pth}}}",
            "no official code learns from points of some images",
        ),
        ("classifier: {points_or_x: {like: cam}}", "the name 'points_or_x' begins with 'points_or_'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(overlay, message):
    with pytest.raises(ConfigError, match=message):
        load(overlay)
