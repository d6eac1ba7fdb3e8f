"""What is said of a misspelt or a former key, and of a misspelt name or value."""

import contextlib
import copy
import random
import re
from pathlib import Path

import pytest
import yaml

from stages.core.config.spelling import did_you_mean
from stages.project import problems
from stages.project.overlays import merged
from stages.project.project import ConfigError, load_project

ROOT = Path(__file__).parents[2]
BASE = yaml.safe_load((ROOT / "config.yaml").read_text())


def said(overlay):
    """The problems of config.yaml with an overlay."""
    with pytest.raises(ConfigError) as raised:
        load_project(merged(copy.deepcopy(BASE), yaml.safe_load(overlay)))
    return [line.strip() for line in str(raised.value).splitlines()[1:]]


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ("cim: {train: {losses: {mill: 1.0}}}", "cim.train.losses.mill: unknown key; did you mean `mil`?"),
        ("clasifier: {}", "clasifier: unknown key; did you mean `classifier`?"),
        ("classifier: {prm: {train: {head: {wndow: 3}}}}", "classifier.prm.train.head.wndow: unknown key; did you mean `window`?"),
        ("semantics: {cam: {labels: {crf: {itertions: 3}}}}", "semantics.cam.labels.crf.itertions: unknown key; did you mean `iterations`?"),
        ("images: {shapes: {widht: 3}}", "images.shapes.widht: unknown key; did you mean `width`?"),
        ("runs: {cim: {methd: cim}}", "runs.cim.methd: unknown key; did you mean `method`?"),
        ("runs: {cim: {cim: {train: {minning: {}}}}}", "runs.cim.cim.train.minning: unknown key; did you mean `mining`?"),
        ("exports: {coco: {segmentation: polygon}}", "exports.coco.segmentation: Input should be 'rle' or 'polygons', found 'polygon'; did you mean `polygons`?"),
        ("runs: {cim: {cues: cma}}", "runs.cim.cues is 'cma'; there are ['prm', 'cam', 'pam', 'points', 'points_or_prm', 'points_or_cam', 'points_or_pam']; did you mean `cam`?"),
        ("runs: {cim: {proposals: hegg}}", "runs.cim.proposals is 'hegg'; there are ['heg', 'fits']; did you mean `heg`?"),
        ("runs: {a: {like: bestei, method: prm, cues: cam, proposals: heg}}", "runs.a.like is 'bestei'; there are ['bestie', 'cim', 'label_penet', 'prm']; did you mean `bestie`?"),
    ],
)  # fmt: skip
def test_a_misspelt_word_is_answered_with_the_nearest_right_one(overlay, sentence):
    assert said(overlay) == [sentence]


def test_a_word_that_is_near_to_nothing_is_answered_with_all_that_there_is():
    assert said("splits: {qqq: 1}") == ["splits.qqq: unknown key; known are ['evaluate', 'train']"]


def test_the_kind_of_a_block_is_answered_with_the_nearest_one():
    assert said("proposals: {heg: {kind: heh}}")[0].endswith("; did you mean `heg`?")


def test_a_former_key_is_answered_with_its_present_name(monkeypatch):
    monkeypatch.setattr(problems, "RENAMED", {"mil_weight": "mil", "colour": "color"})
    assert said("cim: {train: {losses: {mil_weight: 1.0}}}") == [
        "cim.train.losses.mil_weight: the key is now called `mil`; rename it"
    ]
    assert said("runs: {cim: {cim: {train: {losses: {mil_weight: 1.0}}}}}") == [
        "runs.cim.cim.train.losses.mil_weight: the key is now called `mil`; rename it"
    ]


@pytest.mark.parametrize(
    ("overlay", "path", "name"),
    [
        pytest.param("refinement: none", "refinement", "retrain", id="former refinement 0"),
        pytest.param("runs: {cim: {refinement: none}}", "runs.cim.refinement", "retrain", id="former refinement 1"),
        pytest.param("defaults: {training: {rate_factors: {}}}", "defaults.training.rate_factors", "lr_mult", id="former rate_factors 2"),
        pytest.param("images: {coco: {splits: {val: {pictures: a}}}}", "images.coco.splits.val.pictures", "images", id="former pictures 3"),
        pytest.param("proposals: {heg: {ranking: {rim: 1.0}}}", "proposals.heg.ranking.rim", "border", id="former rim 4"),
        pytest.param("bestie: {predict: {grouping: {cluster_heat: 0.1}}}", "bestie.predict.grouping.cluster_heat", "cluster_threshold", id="former cluster_heat 5"),
        pytest.param("runs: {b: {like: bestie, bestie: {transfer: {minimum_area: 9}}}}", "runs.b.bestie.transfer.minimum_area", "min_area", id="former minimum_area 6"),
    ],
)  # fmt: skip
def test_keys_of_earlier_versions_are_answered_with_their_names(overlay, path, name):
    assert said(overlay) == [f"{path}: the key is now called `{name}`; rename it"]


def test_every_former_name_has_a_name_that_is_a_key():
    keys = set(re.findall(r"(?:^|[{ ])([\w.-]+):", (ROOT / "config.yaml").read_text(), re.MULTILINE))
    assert set(problems.RENAMED.values()) <= keys


def test_a_former_name_of_another_block_is_a_misspelt_key(monkeypatch):
    monkeypatch.setattr(problems, "RENAMED", {"mill": "elsewhere"})
    assert said("cim: {train: {losses: {mill: 1.0}}}") == ["cim.train.losses.mill: unknown key; did you mean `mil`?"]


@pytest.mark.parametrize(
    ("word", "known", "end"),
    [
        ("Mil", ["mil"], "; did you mean `mil`?"),
        ("lonesome", ["mil"], ""),
        (7, ["mil"], ""),
        ("points", [None, "point"], "; did you mean `point`?"),
    ],
)
def test_the_nearest_word(word, known, end):
    assert did_you_mean(word, known) == end


OTHER_TYPES = [
    None, [], {}, [1], {1: 2}, {"x": None}, "x", 3, -1.5, True, [None], float("nan"), float("inf"), 10**400, "", "\n{x}$(x)",
    [{"a": 1}], {(1, 2): 3}, {1: {"like": "x"}, "a": {"like": "y"}}, {"like": ["cim"]}, {"like": {}},
]  # fmt: skip
ADDED = [
    ("runs", "cim", "like"), ("proposals", "x", "like"), ("classifier", "cam", "like"), ("runs", "cim", "iterates"),
    ("runs", "cim", "trained", "network"), ("images", "folder", "splits", "train", "tags"),
]  # fmt: skip


def paths(value, path=()):
    """The paths of all keys and entries of a configuration."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from paths(part, (*path, key))


@pytest.mark.parametrize("seed", range(4))
def test_a_value_of_another_type_is_a_problem_wherever_it_stands(seed):
    """No error but ConfigError comes of it; all values at all keys are some 17,600 configurations."""
    places = [*paths(BASE), *ADDED]
    draw = random.Random(seed)
    for path in draw.sample(places, 60):
        config = copy.deepcopy(BASE)
        block = config
        for key in path[:-1]:
            if isinstance(block, dict):
                block = block.setdefault(key, {})
                continue
            block = block[key]
        if isinstance(block, dict | list):
            block[path[-1]] = draw.choice(OTHER_TYPES)
            with contextlib.suppress(ConfigError):
                load_project(config)


@pytest.mark.parametrize(
    ("overlay", "path"),
    [
        ("runs: {second: {like: [cim]}}", "runs.second.like"),
        ("images: {kind: [voc]}", "images.kind"),
        ("proposals: {1: {like: x}, a: {like: y}}", "proposals.1.like"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_key(overlay, path):
    assert any(line.startswith(path) for line in said(overlay)), said(overlay)
