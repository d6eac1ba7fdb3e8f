"""Data sets of a single class: what cannot learn from one is said before anything runs."""

import pytest
import yaml

from stages.project.overlays import merged
from stages.project.project import ConfigError, load_project

ONE = {"images": {"classes": ["disc"], "shapes": {"forms": ["disc", "square"]}}}


@pytest.fixture
def project(project_root):
    def project(text):
        config = yaml.safe_load((project_root / "config.yaml").read_text())
        return load_project(merged(merged(config, ONE), yaml.safe_load(text) or {}))

    return project


@pytest.mark.parametrize("mil", ["paper", "wsddn"])
def test_a_loss_that_compares_classes_is_refused_for_one_class(project, mil):
    message = (
        f"runs.label_penet.label_penet.train.losses.mil is '{mil}', which compares classes, but images.classes names a"
        " single one"
    )
    with pytest.raises(ConfigError, match=message):
        project(f"label_penet: {{train: {{losses: {{mil: {mil}}}}}}}")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("label_penet: {train: {losses: {mil: binary}}}", id="a loss that suits one class"),
        pytest.param("runs: {label_penet: null}", id="no such run"),
        pytest.param("runs: {label_penet: {trained: {network: a.safetensors}}}", id="a network that is brought"),
        pytest.param("images: {classes: [disc, square]}", id="two classes"),
    ],
)
def test_other_configurations_of_one_class_are_valid(project, text):
    assert project(text).runs
