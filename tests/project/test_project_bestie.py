"""Runs of BESTIE in the configuration: what they need, and what cannot be."""

import re

import pytest
import yaml

from stages.project.overlays import merged
from stages.project.project import ConfigError, load_files, load_project
from stages.project.sources import semantics_in_use


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
        pytest.param(
            "runs: {b: {method: bestie, semantics: cam, cues: pam, bestie: {predict: {use_tags: true, use_points: true}}}}",
            "runs.b.bestie.predict.use_points is true, but cues are 'pam'; set cues: points", id="points at test time, other cues",
        ),
        pytest.param(
            "runs: {b: {method: bestie, trained: {network: a}, bestie: {predict: {use_tags: true, use_points: true}}}}",
            "runs.b.bestie.predict.use_points is true, but cues are None", id="points at test time, no cues",
        ),
        pytest.param("bestie: {predict: {use_points: true}}", "use_points is true, but use_tags is false", id="points without tags"),
        pytest.param("bestie: {predict: {side_step: 48}}", "bestie.predict.side_step", id="sides of the input"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_with_its_key(project, text, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        project(text)


AT_POINTS = "bestie: {predict: {use_tags: true, use_points: true}}"


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(
            "semantics: cam, cues: points, bestie: {train: {backbone: {weights: none}}}", id="trained on points"
        ),
        pytest.param("cues: points, trained: {network: a}", id="brought weights"),
        pytest.param("retrain: mask_rcnn, trained: {mask_rcnn: a}", id="predicts nothing"),
    ],
)
def test_points_at_test_time_need_them_as_cues(project, run):
    found = project(
        f"{AT_POINTS}\nruns: {{b: {{method: bestie, {run}}}}}", without=("cim", "prm", "bestie", "label_penet")
    )
    assert found.runs["b"].bestie.predict.use_points


def test_points_at_test_time_go_on_top_of_the_preset_as_documented(project_root, tmp_path, monkeypatch):
    monkeypatch.setenv("TAGMASK_DATA", str(tmp_path))
    assert f"```yaml\n{AT_POINTS}\n```" in (project_root / "docs" / "voc_and_coco.md").read_text()
    (tmp_path / "mine.yaml").write_text(AT_POINTS)
    names = ("voc2012", "voc2012_bestie", "voc2012_bestie_points")
    presets = [project_root / "presets" / f"{name}.yaml" for name in names]
    runs = load_files(project_root / "config.yaml", *presets, tmp_path / "mine.yaml").runs
    assert {name: run.bestie.predict.use_points for name, run in runs.items()} == {"bestie_points": True}


def test_a_run_overrides_what_it_names_alone(project):
    found = project(f"runs: {{b: {PLAIN[:-1]}, bestie: {{train: {{losses: {{guidance: false}}}}}}}}}}").runs["b"]
    assert found.bestie.train.losses.guidance is False
    assert found.bestie.train.losses.center == 200
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
    found = project(f"runs: {{b: {run}}}", without=("cim", "prm", "bestie", "label_penet"))
    assert [r.proposals for r in found.runs.values() if r.uses("proposals")] == proposals
    assert semantics_in_use(found) == semantics


def documented(page):
    """The overlays of a page that are about runs of BESTIE."""
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)]
    return [block for block in blocks if "bestie" in str(block.get("runs"))]


@pytest.mark.parametrize(
    ("page", "presets", "count"),
    [
        pytest.param("docs/runs.md", [], 1, id="runs"),
        pytest.param("docs/own_images.md", ["image_folder"], 4, id="own images"),
        pytest.param("docs/new_images.md", [], 2, id="new images"),
        pytest.param("docs/voc_and_coco.md", ["voc2012", "voc2012_bestie"], 1, id="voc"),
    ],
)
def test_documented_runs_of_bestie_are_valid(project_root, tmp_path, monkeypatch, page, presets, count):
    monkeypatch.setenv("TAGMASK_DATA", str(tmp_path))
    overlays = documented(project_root / page)
    assert len(overlays) == count
    for overlay in overlays:
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(overlay))
        files = [project_root / "presets" / f"{name}.yaml" for name in presets]
        runs = load_files(project_root / "config.yaml", *files, tmp_path / "mine.yaml").runs
        found = [runs[name] for name in overlay["runs"] if runs[name].method == "bestie"]
        assert found
        assert not any(run.uses("proposals") for run in found)
