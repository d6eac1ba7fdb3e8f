"""A packed model is data: whatever its overlay says, it sets what prediction needs, and its paths stay in its folder."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from stages.project.overlays import merged
from stages.project.packed import problems_of_packed
from stages.project.packing import pack_settings
from stages.project.project import ConfigError, load_files, load_project
from tests.pipeline.conftest import ROOT

BASE = yaml.safe_load((ROOT / "config.yaml").read_text())
IMPORTED = {"kind": "coco_json", "path": "/data", "prefixes": [""], "count": 9, "supervision": "class-agnostic masks"}
HOSTILE = [
    "$(touch PWNED)", "`touch PWNED`", "; touch PWNED", "a\ntouch PWNED", "a && touch PWNED", "a | sh", "> PWNED", "'", '"',
    "\\", "{output}", "{{x}}", "{{ 7*7 }}", "{% x %}", "{wildcards.run}", "${HOME}", "$HOME", "~", "*", "?", "!x", "#x", "&",
    "/etc/passwd", "../x", "${TAGMASK_MODEL}/../x.safetensors", "${TAGMASK_MODEL}/a/x.safetensors", "/x.safetensors",
    "${TAGMASK_MODEL}/x.safetensors; touch PWNED", "${TAGMASK_MODEL}/$(x).safetensors", "${TAGMASK_MODEL}/x.pth",
    "${TAGMASK_MODEL}/x\n.safetensors", "<script>", "\0", "\u2028", "é",
]  # fmt: skip
RUNS = ["cim", "bestie", "cim/mask_rcnn", "label_penet", "imported"]


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path):
    for name in ("MODEL", "IMAGES", "PROPOSALS"):
        monkeypatch.setenv(f"TAGMASK_{name}", str(tmp_path / name.lower()))
    (tmp_path / "model").mkdir()


def packed(run):
    """The overlay of a run with its classes, as `pack_model` writes it."""
    config = copy.deepcopy(BASE)
    if run == "imported":
        config["proposals"]["own"] = IMPORTED
        config["runs"]["imported"] = {"like": "cim", "proposals": "own"}
    names = {"runs": config["runs"], "splits": config["images"]["folder"]["splits"]}
    overlay = pack_settings(load_project(config), run, code={}, **names).overlay
    return {**overlay, "images": {**overlay["images"], "classes": ["a; b", "c"]}}


def loaded(folder, overlay, name="segment.yaml"):
    path = folder / name
    path.write_text(yaml.safe_dump(overlay, allow_unicode=True))
    return load_files(ROOT / "config.yaml", path)


@pytest.mark.parametrize("run", RUNS)
def test_what_is_packed_is_accepted(run, tmp_path):
    project = loaded(tmp_path, packed(run))
    base = run.partition("/")[0]
    brought = project.runs[base].trained.mask_rcnn if "/" in run else project.runs[base].trained.network
    assert brought == str(tmp_path / "model" / "weights.safetensors")


def places(value, keys=()):
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*keys, key)
        yield from places(part, (*keys, key))


def changed(overlay, keys, value):
    copied = copy.deepcopy(overlay)
    block = copied
    for key in keys[:-1]:
        block = block[key]
    block[keys[-1]] = value
    return copied


def alone(keys, value):
    """A value at its place, in an overlay that holds nothing else."""
    for key in reversed(keys):
        value = [value] if isinstance(key, int) else {key: value}
    return value


@pytest.mark.parametrize("run", RUNS)
def test_nothing_that_a_shell_or_a_template_reads_is_accepted_anywhere(run, tmp_path):
    """Every hostile text at every value, but for classes, which are data in JSON wherever they go."""
    overlay = packed(run)
    assert problems_of_packed(tmp_path / "segment.yaml", overlay) == []
    for keys in places(overlay):
        for value in HOSTILE:
            for hostile in (value, [value], {value: 1}, {"x": value})[: 4 if value in HOSTILE[:5] else 1]:
                if keys[:2] == ("images", "classes") and hostile != "${HOME}":
                    continue
                found = problems_of_packed(tmp_path / "segment.yaml", alone(keys, hostile))
                assert found, (keys, hostile)
                assert all("\n" not in line for line in found)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_text_is_a_problem_of_the_configuration(value, tmp_path):
    with pytest.raises(ConfigError, match="expected a word or a number"):
        loaded(tmp_path, changed(packed("cim"), ("images", "name"), value))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"device": "cuda"}, "device is not a key that a packed model sets"),
        ({"exports": {"overlays": {"format": "png"}}}, "exports.overlays.format is not a key"),
        ({"runs": {"cim": {"cim": {"train": {"seed": 3}}}}}, "runs.cim.cim.train.seed is not a key"),
        ({"classifier": {"cam": {"trained": "/x.safetensors"}}}, "classifier.cam.trained is not a key"),
        (
            {"images": {"folder": {"splits": {"new": {"images": "/home"}}}}},
            "images is '/home', expected ${TAGMASK_IMAGES}",
        ),
        ({"images": {"folder": {"splits": {"new": {"tags": "/x.csv"}}}}}, "new.tags is '/x.csv', expected null"),
        ({"images": {"classes": ["${HOME}"]}}, "which names a variable"),
        ({"proposals": {"heg": {"path": "/x"}}}, "proposals.heg.path is '/x', expected ${TAGMASK_PROPOSALS}"),
        ({"semantics": {"x": {"folder": "maps"}}}, "semantics.x.folder is not a key"),
        ({"runs": {"a$(x)": None}}, "runs.a$(x) is not a key"),
        ({"inspection": {"marks": {"cim": "x.json"}}}, "inspection.marks.cim is not a key"),
    ],
)
def test_what_a_packed_model_must_not_say_is_named(extra, message, tmp_path):
    with pytest.raises(ConfigError, match=re.escape(message)):
        loaded(tmp_path, merged(packed("cim"), extra))


def test_any_configuration_in_the_folder_of_the_model_is_held_to_it(tmp_path):
    with pytest.raises(ConfigError, match="device is not a key that a packed model sets"):
        loaded(tmp_path / "model", {**packed("cim"), "device": "cpu"}, name="other.yaml")
    assert loaded(tmp_path, {"device": "cpu"}, name="mine.yaml").device == "cpu"


def test_an_overlay_of_ones_own_goes_on_top(tmp_path):
    (tmp_path / "segment.yaml").write_text(yaml.safe_dump(packed("cim")))
    (tmp_path / "second.yaml").write_text("{images: {name: second_folder}, device: cpu}")
    project = load_files(ROOT / "config.yaml", tmp_path / "segment.yaml", tmp_path / "second.yaml")
    assert (project.dataset, project.device) == ("second_folder", "cpu")


@pytest.mark.parametrize("content", ["[]", "3", "text", ""])
def test_an_overlay_that_is_no_mapping_is_refused(content, tmp_path):
    (tmp_path / "segment.yaml").write_text(content)
    with pytest.raises(ConfigError, match="holds no keys"):
        load_project(copy.deepcopy(BASE), overlays=[Path(tmp_path / "segment.yaml")])
