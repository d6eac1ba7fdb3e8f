"""A trial: the rule that shortens trainings, what is shortened along, and that nothing else differs."""

import copy
from pathlib import Path

import pytest
import yaml

from stages.core.training.settings import TrainingSettings
from stages.project.explain_settings import explain_settings
from stages.project.overlays import merged
from stages.project.project import ConfigError, load_files, load_project
from stages.project.trial import trial_steps
from tests.project.test_project_project import BELOW

ROOT = Path(__file__).parents[2]
BASE = yaml.safe_load((ROOT / "config.yaml").read_text())
UPDATES = {"steps", "warmup_steps", "curve_steps", "drops", "snapshots", "first_step"}
PRESETS = ("voc_animals", "coco2017_bestie_released", "voc2007_label_penet", "ablations/cim")


@pytest.fixture(autouse=True)
def data_folder(monkeypatch):
    monkeypatch.setenv("TAGMASK_DATA", "/somewhere")


def load(overlay="{}"):
    return load_project(merged(copy.deepcopy(BASE), yaml.safe_load(overlay)))


def stacked(preset, tmp_path, text):
    (tmp_path / "trial.yaml").write_text(text)
    names = [*BELOW.get(preset, []), preset]
    return load_files(
        ROOT / "config.yaml", *[ROOT / "presets" / f"{name}.yaml" for name in names], tmp_path / "trial.yaml"
    )


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        return {leaf: found for key, inner in value.items() for leaf, found in leaves(inner, (*path, key)).items()}
    return {path: value}


@pytest.mark.parametrize(
    ("steps", "images", "expected"),
    [
        (600, 50, 75),  # 50 / 400 of them
        (600, 100, 150),
        (200, 50, 30),  # 25 would be below the floor
        (20, 50, 20),  # never more than all
        (600, 400, 600),
        (600, 5000, 600),
        (90_000, 50, 500),  # at most 10 for each image
        (90_000, 1, 30),
    ],
)
def test_updates_grow_with_the_sample_between_a_floor_and_ten_for_each_image(steps, images, expected):
    assert trial_steps(steps, images) == expected


def test_what_is_counted_in_updates_is_shortened_along():
    train = load("{trial: 100, bestie: {train: {refinement: {first_step: 60}}}}").bestie.train
    assert (train.training.steps, train.training.warmup_steps, train.training.curve_steps) == (50, 5, 12)
    assert train.snapshots == [12, 25, 38]
    assert train.refinement.first_step == 15


def test_drops_and_snapshots_that_would_meet_or_come_too_late_are_left_out():
    overlay = """
        trial: 50
        bestie:
          train:
            training: {steps: 6000, schedule: {kind: step, drops: [1, 2, 3000, 5999]}}
            snapshots: [1, 2, 3, 3000, 5999]
    """
    train = load(overlay).bestie.train
    assert train.training.steps == 500
    assert train.training.schedule.drops == train.snapshots == [1, 250]


def test_what_is_off_stays_off():
    training = load("{trial: 50, cim: {train: {training: {warmup_steps: 0}}}}").runs["cim"].cim.train.training
    assert training.warmup_steps == 0


def test_the_data_set_is_a_sample_under_a_name_of_its_own():
    images = load("trial: 50").images
    assert (images.name, images.sample.count, images.sample.seed) == ("shapes-trial50", 50, 0)
    images = load("{trial: 50, images: {sample: {count: 20, seed: 7}}}").images
    assert (images.name, images.sample.count, images.sample.seed) == ("shapes-trial50", 20, 7)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_a_trial_that_differs_in_updates_and_sample_alone(preset, tmp_path):
    full, trial = (stacked(preset, tmp_path, text).model_dump() for text in ("trial: null", "trial: 50"))
    before, after = leaves(full), leaves(trial)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {path[-1] for path in changed if path[0] not in ("images", "trial")} <= UPDATES
    assert {path[:2] for path in changed if path[0] == "images"} == {("images", "name"), ("images", "sample")}
    assert all(after[path] <= 500 for path in after if path[-2:] == ("training", "steps"))


def test_folds_of_suspect_tags_are_shortened_too():
    assert load("trial: 50").suspect_tags.folds.steps is None
    assert load("{trial: 50, suspect_tags: {folds: {steps: 800}}}").suspect_tags.folds.steps == 100


def test_runs_and_the_network_on_top_are_shortened_like_their_sections():
    run = load("{trial: 50, runs: {cim: {cim: {train: {training: {steps: 800}}}}}}").runs["cim"]
    assert run.cim.train.training.steps == 100
    assert run.mask_rcnn.train.training.steps == 62
    assert isinstance(run.cim.train.training, TrainingSettings)


@pytest.mark.parametrize("value", ["0", "-3", "5.5", "many", "true", "[50]"])
def test_a_trial_of_what_is_no_number_of_images_is_refused(value):
    with pytest.raises(ConfigError, match="trial: "):
        load(f"trial: {value}")


def test_the_comparison_knows_that_it_is_one_of_a_trial():
    assert load("trial: 50").comparison().trial == 50
    assert load().comparison().trial is None


def test_settings_name_the_trial_as_the_origin_of_what_it_changed():
    text = explain_settings("cim", [], {"trial": 50})
    lines = {line.split("#")[0].strip(): line.partition("# ")[2] for line in text.splitlines()}
    assert lines["steps: 188"] == "trial, in place of 1500: config.yaml"
    assert lines["name: shapes-trial50"] == "trial, in place of shapes: config.yaml"
    assert lines["count: 50"] == "trial, in place of null: config.yaml"
    assert lines["trial: 50"] == "--config"
    assert lines["learning_rate: 0.002"] == "config.yaml, defaults.training"
    assert "in place of" not in explain_settings("cim", [], {})
