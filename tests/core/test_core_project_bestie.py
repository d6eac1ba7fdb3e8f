"""Runs of BESTIE in the configuration: what they need, and what cannot be."""

import re

import pytest
import yaml

from stages.core.config.overlays import merged
from stages.core.config.project import ConfigError, load_project


@pytest.fixture
def project(project_root):
    def project(text, *, without=()):
        config = yaml.safe_load((project_root / "config.yaml").read_text())
        left_out = {"runs": dict.fromkeys(without)}
        return load_project(merged(config, merged(left_out, yaml.safe_load(text))))

    return project


PLAIN = "{method: bestie, semantics: cam, cues: pam}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("runs: {b: {method: bestie, cues: pam}}", "runs.b.semantics is None; there are", id="no semantics"),
        pytest.param("runs: {b: {method: bestie, cues: pam, semantics: irn}}", "runs.b.semantics is 'irn'", id="unknown semantics"),
        pytest.param("runs: {b: {method: bestie, semantics: cam, cues: pim}}", "runs.b.cues is 'pim'", id="unknown cues"),
        pytest.param("runs: {b: {method: bestie, semantics: cam, cues: points}}", "runs.b: cues are points, so bestie.train", id="points have no classifier"),
        pytest.param("runs: {b: {method: cim, proposals: heg, cues: cam, semantics: cam}}", "runs.b.semantics is set, but method cim", id="semantics of cim"),
        pytest.param("runs: {b: {method: cim, proposals: heg, cues: cam, iterates: cim}}", "runs.b.iterates is set, but method cim", id="iteration of cim"),
        pytest.param("runs: {b: {method: cim, cues: cam}}", "runs.b.proposals is None; there are", id="cim without proposals"),
        pytest.param("runs: {b: {method: bestie, semantics: cam, cues: pam, iterates: c}}", "runs.b.iterates is 'c'; there are", id="iteration of nothing"),
        pytest.param(
            "runs: {b: {method: bestie, semantics: cam, cues: pam, iterates: c}, c: {method: bestie, semantics: cam, cues: pam, iterates: b}}",
            "runs.b.iterates leads back to itself: b -> c -> b", id="iteration in a circle",
        ),
        pytest.param("runs: {b: {method: bestie, semantics: cam, cues: pam, bestie: {trian: {}}}}", "runs.b.bestie.trian: unknown key", id="typo"),
        pytest.param("bestie: {train: {refinement: {grouping: {window: 4}}}}", "window is 4, expected an odd number", id="even window"),
        pytest.param("bestie: {train: {data: {crop: 100}}}", "crop is 100, expected a multiple of 32", id="crop"),
        pytest.param("bestie: {train: {backbone: {stages: [0, 1, 2]}}}", "network.semantic_low_channels has 1 entries", id="decoder and stages"),
        pytest.param("bestie: {train: {network: {kind: high_resolution}}}", "needs one stage; backbone.stages lists 2", id="one branch"),
        pytest.param("bestie: {predict: {side_step: 48}}", "bestie.predict.side_step", id="sides of the input"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_with_its_key(project, text, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        project(text)


def test_a_run_overrides_what_it_names_alone(project):
    found = project(f"runs: {{b: {PLAIN[:-1]}, bestie: {{train: {{losses: {{guidance: false}}}}}}}}}}").runs["b"]
    assert found.bestie.train.losses.guidance is False
    assert found.bestie.train.losses.centre == 200
    assert found.proposals is None


@pytest.mark.parametrize(
    ("run", "proposals", "semantics"),
    [
        pytest.param(PLAIN, [], ["cam"], id="bestie"),
        pytest.param("{method: cim, proposals: heg, cues: cam}", ["heg"], [], id="cim"),
        pytest.param(f"{PLAIN[:-1]}, trained: {{network: a}}}}", [], [], id="brought weights need no maps"),
    ],
)
def test_what_a_run_takes_from_upstream(project, run, proposals, semantics):
    found = project(f"runs: {{b: {run}}}", without=("cim", "prm", "bestie"))
    assert [r.proposals for r in found.runs.values() if r.uses_proposals] == proposals
    assert found.semantics_in_use == semantics
