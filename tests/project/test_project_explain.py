"""The complete settings of a run: their values, and where each comes from."""

from pathlib import Path

import pytest
import yaml

from stages.project.explain_settings import Layer, Origins, explain_settings
from stages.project.project import ConfigError, load_files

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def data_folder(monkeypatch):
    monkeypatch.setenv("TAGMASK_DATA", "/somewhere")


@pytest.fixture
def explained(tmp_path):
    """What is printed of a run with an overlay over presets, as text."""

    def explained(run, overlay="{}", *presets, config=None):
        (tmp_path / "mine.yaml").write_text(overlay)
        files = [ROOT / "presets" / f"{name}.yaml" for name in presets]
        return explain_settings(run, [*files, tmp_path / "mine.yaml"], config or {})

    return explained


def origin(text, *keys):
    """The value and the origin that stand behind a path of keys."""
    lines, depth = text.splitlines(), 0
    for i, line in enumerate(lines):
        if line.startswith(f"{'  ' * depth}{keys[depth]}:"):
            depth += 1
            if depth == len(keys):
                value, _, comment = lines[i].partition("  # ")
                return value.partition(": ")[2].strip(), comment
    raise AssertionError(f"{keys} is not there")


TRAINING = ("runs", "cim", "cim", "train", "training")


@pytest.mark.parametrize(
    ("overlay", "keys", "value", "end"),
    [
        ("{}", ("shards",), "2", "config.yaml"),
        ("shards: 5", ("shards",), "5", "mine.yaml"),
        ("{}", (*TRAINING, "steps"), "1500", "config.yaml"),
        ("{}", (*TRAINING, "prefetch"), "2", "config.yaml, defaults.training"),
        ("defaults: {training: {prefetch: 4}}", (*TRAINING, "prefetch"), "4", "mine.yaml, defaults.training"),
        ("cim: {train: {training: {steps: 7}}}", (*TRAINING, "steps"), "7", "mine.yaml"),
        ("runs: {cim: {cim: {train: {training: {steps: 7}}}}}", (*TRAINING, "steps"), "7", "mine.yaml"),
        ("{}", ("classifier", "cam", "train", "head", "kind"), "cam", "config.yaml"),
        ("{}", ("classifier", "cam", "train", "seed"), "3", "config.yaml, classifier.prm"),
        ("classifier: {cam: {train: {seed: 4}}}", ("classifier", "cam", "train", "seed"), "4", "mine.yaml"),
        ("classifier: {prm: {train: {seed: 4}}}", ("classifier", "cam", "train", "seed"), "4", "mine.yaml, classifier.prm"),
        ("{}", ("classifier", "cam", "train", "training", "schedule", "power"), "0.9", "config.yaml, defaults.training"),
        ("{}", ("images", "name"), "shapes", "config.yaml"),
    ],
)  # fmt: skip
def test_a_value_has_the_file_that_it_comes_from(explained, overlay, keys, value, end):
    found = origin(explained("cim", overlay), *keys)
    assert found[0] == value
    assert found[1].endswith(end)


def test_a_run_like_another_has_what_that_one_says(explained):
    text = explained("mine", "runs: {mine: {like: cim, cim: {train: {seed: 5}}}}")
    assert origin(text, "runs", "mine", "method")[1] == "config.yaml, runs.cim"
    assert origin(text, "runs", "mine", "cim", "train", "seed")[0] == "5"


def test_the_command_line_wins_and_a_preset_is_named_from_the_root(explained):
    text = explained("cim", "{}", "voc2012", config={"shards": 9})
    assert origin(text, "shards") == ("9", "--config")
    assert origin(text, "threads") == ("8", "presets/voc2012.yaml")
    assert text.startswith("# Settings of the run cim, of config.yaml, presets/voc2012.yaml, --config\n")


@pytest.mark.parametrize("presets", [[], ["voc2012", "voc2012_bestie"], ["voc_animals", "ablations/bestie"]])
def test_what_is_printed_is_what_the_run_uses(explained, presets):
    project = load_files(ROOT / "config.yaml", *(ROOT / "presets" / f"{name}.yaml" for name in presets))
    for name, run in project.runs.items():
        text = explained(name, "{}", *presets)
        values = yaml.safe_load(text)
        assert values["runs"][name][run.method] == getattr(run, run.method).model_dump(mode="json")
        assert ("classifier" in values) == (run.cues is not None)
        if run.cues is not None:
            assert values["classifier"][run.cues] == project.classifier[run.cues].model_dump(mode="json")
        expected = {"name", "kind", "classes", "untagged", "verify", "sample", "max_pixels", project.images.kind}
        assert set(values["images"]) == expected
        assert ("proposals" in values) == (run.proposals is not None)
        assert ("semantics" in values) == (run.semantics is not None)
        assert "said nowhere" not in text


def test_a_run_that_is_not_there_is_answered_with_the_nearest(explained):
    with pytest.raises(ConfigError, match="there is no run 'cmi'; there are .*did you mean `cim`"):
        explained("cmi")


def test_entries_in_a_circle_end():
    entries = {"classifier": {"a": {"like": "b"}, "b": {"like": "a"}}}
    assert Origins([Layer("x", entries)]).of(("classifier", "a", "seed")) == "said nowhere: null"
