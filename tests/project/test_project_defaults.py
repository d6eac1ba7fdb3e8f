"""Blocks that are said once: which value wins, and what is said of a wrong one."""

import copy
from pathlib import Path

import pytest
import yaml

from stages.project.defaults import BLOCKS, with_defaults
from stages.project.overlays import merged, with_likes
from stages.project.project import ConfigError, load_project

ROOT = Path(__file__).parents[2]
BASE = yaml.safe_load((ROOT / "config.yaml").read_text())


def load(overlay):
    return load_project(merged(copy.deepcopy(BASE), yaml.safe_load(overlay)))


def said(overlay):
    """The problems of config.yaml with an overlay."""
    with pytest.raises(ConfigError) as raised:
        load(overlay)
    return [line.strip() for line in str(raised.value).splitlines()[1:]]


def trainings(project):
    parts = [*project.classifier.values(), project.semantics["cam"], project.cim, project.bestie, project.mask_rcnn]
    return [part.train.training for part in parts]


def test_a_default_acts_on_every_block_that_does_not_say_it():
    project = load("defaults: {training: {prefetch: 7, warmup_steps: 9}, crf: {smooth_sxy: 5.0}}")
    assert {training.prefetch for training in trainings(project)} == {7}
    assert project.cim.train.training.warmup_steps == BASE["cim"]["train"]["training"]["warmup_steps"] != 9
    assert project.mask_rcnn.train.training.warmup_steps == 9
    assert project.semantics["cam"].predict.crf.smooth_sxy == project.bestie.predict.crf.smooth_sxy == 5


def test_a_block_wins_over_the_default_and_a_run_over_the_block():
    project = load(
        "{defaults: {training: {prefetch: 7}}, cim: {train: {training: {prefetch: 5}}},"
        " runs: {mine: {like: cim, cim: {train: {training: {prefetch: 3}}}}}}"
    )
    assert (project.bestie.train.training.prefetch, project.cim.train.training.prefetch) == (7, 5)
    assert project.runs["cim"].cim.train.training.prefetch == 5
    assert project.runs["mine"].cim.train.training.prefetch == 3
    assert project.runs["mine"].cim.train.training.steps == project.cim.train.training.steps


def test_an_entry_takes_from_the_one_it_is_like_before_the_default():
    project = load("{defaults: {training: {prefetch: 7}}, classifier: {prm: {train: {training: {prefetch: 5}}}}}")
    assert project.classifier["pam"].train.training.prefetch == 5


def test_blocks_within_a_block_are_merged_and_lists_replaced():
    config = {"defaults": {"training": {"a": {"b": 1, "c": [1, 2]}}}, "x": {"training": {"a": {"c": [3]}}}}
    complete, taken = with_defaults(config, [])
    assert complete == {"x": {"training": {"a": {"b": 1, "c": [3]}}}}
    assert taken == {"x.training.a.b": "defaults.training.a.b"}


def test_what_is_no_block_stays_as_it_is():
    config = {
        "defaults": {"training": {"a": 1}},
        "x": {"tagged_on": ["training"], "backbone": 1.0},
        "runs": {"r": {"training": {}}},
    }
    assert with_defaults(config, [])[0] == {"x": config["x"], "runs": config["runs"]}


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ("defaults: {training: {stepss: 1}}", "defaults.training.stepss: unknown key; did you mean `steps`?"),
        ("defaults: {training: {schedule: {fctor: 1.0}}}", "defaults.training.schedule.fctor: unknown key; did you mean `factor`?"),
        ("defaults: {traning: {}}", "defaults.traning: unknown key; did you mean `training`?"),
        ("defaults: {training: {prefetch: -1}}", "defaults.training.prefetch: Input should be greater than or equal to 0, found -1"),
        ("defaults: [1]", "defaults: is [1], expected a block for each of ['backbone', 'crf', 'training']"),
    ],
)  # fmt: skip
def test_a_problem_of_a_default_is_said_once_with_its_path_there(overlay, sentence):
    found = said(overlay)
    assert found[0] == sentence
    assert len(found) == 1 or overlay == "defaults: [1]"


def test_a_problem_of_a_block_that_says_the_key_itself_has_its_own_path():
    assert said("cim: {train: {training: {prefetch: -1}}}")[0].startswith("cim.train.training.prefetch: ")


def test_the_defaults_of_the_config_are_of_blocks_that_exist_and_each_is_used():
    assert set(BASE["defaults"]) == set(BLOCKS)
    used = set(with_defaults(with_likes(BASE, []), [])[1].values())
    for name, block in BASE["defaults"].items():
        assert set(block) <= set(BLOCKS[name].model_fields)
        assert {f"defaults.{name}.{key}" for key in block} <= used
