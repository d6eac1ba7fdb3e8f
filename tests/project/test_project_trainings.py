"""Which trainings a configuration does, and that their passes divide among the processes that share them."""

import pytest

from stages.project.project import ConfigError
from stages.project.trainings import trainings_in_use
from tests.project.test_project_project import load

MODULES = ["classification", "detection", "refinement", "segmentation"]
# Of config.yaml as it stands: every trainer there is.
SHIPPED = {
    "classifier.cam.train.training", "classifier.pam.train.training", "semantics.cam.train.training",
    "cim.train.training", "bestie.train.training", "mask_rcnn.train.training",
    *(f"label_penet.train.{module}.training" for module in MODULES), "label_penet.finetune.training",
}  # fmt: skip


def problems(overlay: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(overlay)
    return [line.strip() for line in str(raised.value).splitlines()[1:]]


def test_the_trainings_are_those_that_the_runs_stand_on():
    assert trainings_in_use(load("classifier: {own: {like: cam}}")).keys() == SHIPPED


def test_a_run_that_changes_its_training_has_a_key_of_its_own():
    found = trainings_in_use(
        load(
            "retrain: none\n"
            "runs: {cim: {retrain: none}, bestie: null, prm: null, label_penet: null,"
            " mine: {like: cim, cim: {train: {training: {steps: 9}}}}}"
        )
    )
    assert found.keys() == {
        "classifier.cam.train.training", "cim.train.training", "runs.mine.cim.train.training"
    }  # fmt: skip
    assert found["runs.mine.cim.train.training"].steps == 9


def test_weights_that_are_brought_are_not_trained():
    found = trainings_in_use(load("runs: {cim: {trained: {network: /w.safetensors}, retrain: none}}"))
    assert "cim.train.training" not in found
    assert "mask_rcnn.train.training" not in found


def test_passes_that_do_not_divide_are_refused_with_their_keys_and_a_remedy():
    found = problems("gpus: 2")
    odd = {path for path, training in trainings_in_use(load("")).items() if training.accumulate % 2}
    assert odd
    assert {line.split(".accumulate is ")[0] for line in found} == odd
    for line in found:
        assert "which does not divide among gpus: 2; set it to a multiple of 2" in line
        assert "or set gpus to a number that divides 1" in line


def test_passes_divide_among_the_gpus_of_all_nodes():
    even = "defaults: {training: {accumulate: 4}}\ncim: {train: {training: {accumulate: 4}}}"
    assert load(f"gpus: 2\nnodes: 2\n{even}").nodes == 2
    for line in problems(f"gpus: 2\nnodes: 3\n{even}"):
        assert "does not divide among gpus: 2 on each of nodes: 3, 6 in all; set it to a multiple of 6" in line
        assert "or set gpus times nodes to a number that divides 4" in line
    assert load("nodes: 2\ndevice: cpu").nodes == 2


def test_there_is_at_least_one_node():
    assert any("nodes" in line and "greater than or equal to 1" in line for line in problems("nodes: 0"))


def test_only_processes_on_gpus_share_passes():
    assert load("gpus: 2\ndevice: cpu").gpus == 2
    even = "defaults: {training: {accumulate: 2}}\ncim: {train: {training: {accumulate: 4}}}"
    assert load(f"gpus: 2\n{even}").gpus == 2
    assert "cim.train.training.accumulate is 4" in "".join(problems(f"gpus: 3\n{even}"))
