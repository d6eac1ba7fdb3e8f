"""Metrics, benchmarks and what weights note about themselves: whatever stands in them, one error names the file."""

import copy
import json

import pytest
import torch
from safetensors.torch import save_file

from stages.core.artifacts.metrics import read_metrics
from stages.core.config.section import Section
from stages.core.networks.weights import METADATA, load_weights, read_metadata, read_trained
from stages.core.workflow.benchmarks import read_benchmarks

METRICS = {
    "run": "cim", "split": "val", "n_images": 2, "treatment": {"void": "background"}, "method": "cim",
    "masks": {"voc": {"mAP50": 41.26}, "coco": {"AP": None}, "ABO": 50.0, "MABO": 49.0}, "supervision": "image tags",
    "boxes": {"voc07": {"AP50": 30.5}, "voc12": {"AP50": 31.5}, "n_images": 2}, "corloc": None, "semantic": {"mIoU": 60},
}  # fmt: skip
NOTED = {
    "step": "train", "classes": ["a"], "settings": {"seed": 1, "network": {"width": 2}}, "supervision": "image tags",
    "inputs": {"images": "ab"}, "held_out": ["x"], "updates": [1, 2],
}  # fmt: skip
OTHERS = [None, [], {}, 3, -1, "x", True, [1], {"x": 1}, [[]], 1e999]


class Own(Section):
    width: int


def changes(value, path=()):
    """Copies of a JSON value, each with one part left out or of another type."""
    for key in value:
        for other in [..., *OTHERS]:
            changed = copy.deepcopy(value)
            if other is ...:
                del changed[key]
            else:
                changed[key] = other
            yield changed
        if isinstance(value[key], dict):
            for inner in changes(value[key]):
                yield {**value, key: inner}


def test_metrics_are_read_or_refused_by_name(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(METRICS))
    assert read_metrics(path, also=("method",)) == METRICS
    refused = 0
    for changed in [*changes(METRICS), *OTHERS]:
        path.write_text(json.dumps(changed))
        try:
            found = read_metrics(path, also=("method", "treatment"))
        except ValueError as error:
            assert str(error).startswith(str(path))
            assert "\n" not in str(error)
            refused += 1
        else:
            assert isinstance(found["n_images"], int)
            assert {*map(type, (found["boxes"][name]["AP50"] for name in ("voc07", "voc12")))} <= {
                float,
                int,
                type(None),
            }
    assert refused > 150


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"masks": {"voc": 3}}, "masks.voc: Input should be a valid dict"),
        ({"semantic": {}}, "it lacks semantic.mIoU"),
        ({"corloc": "x"}, "corloc: Input should be a valid number"),
    ],
)
def test_what_is_wrong_with_metrics_is_said(tmp_path, changed, message):
    (tmp_path / "m.json").write_text(json.dumps(METRICS | changed))
    with pytest.raises(ValueError, match=f"m.json is no metrics.json of evaluate_instances: {message}.*evaluate again"):
        read_metrics(tmp_path / "m.json")


def noting(path, text):
    save_file({"a": torch.zeros(2)}, path, {METADATA: text})
    return path


def use(path):
    """Ask for everything that steps ask for."""
    noted = read_trained(path, step="train", classes=["a"], listed=path)
    noted.section(Own, name="network")
    return [noted[name] for name in NOTED] + [noted.setting("seed")]


def test_what_weights_note_is_read_or_refused_by_name(tmp_path):
    path = noting(tmp_path / "w.safetensors", json.dumps(NOTED))
    assert use(path)[-1] == 1
    for changed in [*changes(NOTED), *OTHERS]:
        noting(path, json.dumps(changed))
        try:
            use(path)
        except ValueError as error:
            assert str(error).startswith(str(path))
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 10_000, "is no JSON"),
        ("3", "notes '3' about itself, expected an object"),
        ("{}", "was not written by train, but by None"),
        ('{"step": "train"}', "does not note its classes: it is damaged"),
        ('{"step": "train", "classes": "a"}', "notes classes that are Input should be a valid list"),
        ('{"step": "train", "classes": ["a"]}', "does not note its settings"),
        ('{"step": "train", "classes": ["a"], "settings": {}}', "does not note its setting network"),
        ('{"step": "train", "classes": ["a"], "settings": {"network": 3}}', "notes settings that do not fit"),
        (
            '{"step": "train", "classes": ["a"], "settings": {"network": {"width": "x", "y": 1}}}',
            r"notes settings that do not fit, width: Input should be a valid integer \(and 1 more\): it is damaged",
        ),
    ],
)
def test_what_is_wrong_with_weights_is_said(tmp_path, text, message):
    path = noting(tmp_path / "w.safetensors", text)
    with pytest.raises(ValueError, match=message) as caught:
        use(path)
    assert str(caught.value).startswith(str(path))
    assert "bug" not in str(caught.value)


def test_damaged_weights_are_refused_by_name(tmp_path):
    path = noting(tmp_path / "w.safetensors", json.dumps(NOTED))
    whole = path.read_bytes()
    module = torch.nn.Module()
    module.a = torch.nn.Parameter(torch.ones(2))
    for i in range(len(whole)):
        for damaged in (whole[:i], whole[:i] + bytes([whole[i] ^ 0x15]) + whole[i + 1 :]):
            path.write_bytes(damaged)
            try:
                read_metadata(path)
                load_weights(path, module)
            except ValueError as error:
                assert str(path) in str(error)


@pytest.mark.parametrize(
    "text", ["s\tmax_rss\nx\t3\n", "a\tb\n1\t2\n", "s\n", "s\tcpu_time\n1\tx\n", "\0", "s\n\n1\t2\t3\n"]
)
def test_benchmarks_are_read_or_refused_by_name(tmp_path, text):
    (tmp_path / "a.tsv").write_text(text)
    try:
        read_benchmarks(tmp_path)
    except ValueError as error:
        assert f"{tmp_path / 'a.tsv'} is no benchmark file" in str(error)
