"""YAML that holds itself, expands without bound, is nested without bound or is none is one message."""

import time

import pytest

from stages.core.artifacts.files import read_json
from stages.core.config.yaml_files import load_yaml
from stages.project.project import ConfigError, load_files, load_project
from tests.pipeline.conftest import ROOT

TENFOLD = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("images: &a\n  name: x\n  again: *a\n", "or an alias in it holds itself", id="in itself"),
        pytest.param("- &a [*a]", "or an alias in it holds itself", id="list in itself"),
        pytest.param(TENFOLD, "more than 1000000 values once its aliases are spelt out", id="ten times ten times"),
        pytest.param("a: " + "[" * 100 + "]" * 100, "more than 50 levels", id="100 deep"),
        pytest.param("a: " + "[" * 3000 + "]" * 3000, "nested too deeply", id="3,000 deep"),
        pytest.param("a: [", "is not YAML", id="cut off"),
        pytest.param("a: 2026-99-99", "is not YAML", id="no date"),
        pytest.param("? {a: 1}\n: 2", "is not YAML", id="a mapping as a key"),
        pytest.param("a: !!python/object/apply:os.system [id]", "is not YAML", id="code"),
        pytest.param("\0", "is not YAML", id="zero byte"),
    ],
)
def test_yaml_that_is_refused_is_one_message(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as caught:
        load_yaml(path)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        load_files(ROOT / "config.yaml", path)
    assert time.perf_counter() - start < 10


def test_a_configuration_that_holds_itself_is_a_problem():
    config = {"images": {}}
    config["images"]["again"] = config
    with pytest.raises(ConfigError, match="the configuration is nested more than 50 levels deep"):
        load_project(config)


def test_an_overlay_that_cannot_be_read_is_a_problem(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match=r"mine\.yaml is not YAML in UTF-8"):
        load_project({}, overlays=[tmp_path / "mine.yaml"])


def test_json_that_is_nested_too_deeply_is_refused_by_name(tmp_path):
    (tmp_path / "metrics.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"metrics\.json is not JSON .*remake it"):
        read_json(tmp_path / "metrics.json")
