"""Answers kept beside the bytecode: used for the same content alone, and never trusted more than made ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.workflow import digest
from stages.core.workflow.kept import Kept

ROOT = Path(__file__).parents[2]


@pytest.fixture
def kept(tmp_path):
    maker = tmp_path / "maker.py"
    maker.write_text("one way")
    return lambda: Kept(tmp_path / "cache" / "answers.json", made_by=[maker])


def ask(store, content, value, name="a"):
    """The answer to a content, and whether it was made."""
    made = []
    answer = store.answer(name, content, lambda: made.append(1) or value)
    store.save()
    return answer, bool(made)


def test_an_answer_is_made_once_for_a_content(kept):
    assert ask(kept(), b"x", [1]) == ([1], True)
    assert ask(kept(), b"x", [2]) == ([1], False)
    assert ask(kept(), b"y", [3]) == ([3], True)
    assert ask(kept(), b"y", [4]) == ([3], False)
    assert ask(kept(), b"y", [5], name="b") == ([5], True)


def test_another_way_of_making_them_makes_all_anew(kept, tmp_path):
    ask(kept(), b"x", [1])
    (tmp_path / "maker.py").write_text("another")
    assert ask(kept(), b"x", [2]) == ([2], True)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: "", id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], id="cut off"),
        pytest.param(lambda text: "[]", id="another kind"),
        pytest.param(
            lambda text: json.dumps({"key": json.loads(text)["key"], "answers": {"a": 3}}), id="other entries"
        ),
        pytest.param(lambda text: json.dumps({"key": json.loads(text)["key"], "answers": []}), id="no mapping"),
        pytest.param(lambda text: json.dumps({"key": json.loads(text)["key"]}), id="no answers"),
    ],
)
def test_a_damaged_file_is_made_anew(kept, tmp_path, damage):
    ask(kept(), b"x", [1])
    path = tmp_path / "cache" / "answers.json"
    path.write_text(damage(path.read_text()))
    assert ask(kept(), b"x", [2]) == ([2], True)
    assert ask(kept(), b"x", [3]) == ([2], False)


def test_a_folder_that_takes_no_file_is_no_error(kept, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert ask(kept(), b"x", [1]) == ([1], True)
    assert ask(kept(), b"x", [2]) == ([2], True)


def test_nothing_is_left_beside_the_file(kept, tmp_path):
    ask(kept(), b"x", [1])
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["answers.json"]


def test_digests_are_the_same_by_kept_modules(tmp_path):
    """In new processes, with the file, without it, and after an edit that counts and one that does not."""
    for name in ("__init__", "step", "part"):
        path = tmp_path / "stages" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("from stages.part import number\n" if name == "step" else "number = 1\n")
    code = (
        "import sys; from stages.core.workflow import digest; digest.ROOT = __import__('pathlib').Path(sys.argv[1])\n"
    )
    code += "print(digest.code_digest('stages.step'))"
    cache = tmp_path / "copy" / "stages" / "core" / "workflow"
    cache.mkdir(parents=True)
    for package in (cache, cache.parent, cache.parent.parent):
        (package / "__init__.py").touch()
    for name in ("digest", "kept", "prose"):
        (cache / f"{name}.py").write_bytes((ROOT / "stages" / "core" / "workflow" / f"{name}.py").read_bytes())

    def found():
        return subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, cwd=tmp_path / "copy",
            env=os.environ | {"PYTHONPATH": str(tmp_path / "copy")},
        ).stdout  # fmt: skip

    first = found()
    kept = cache / "__pycache__" / "modules.json"
    assert set(json.loads(kept.read_text())["answers"]) == {"stages.__init__", "stages.step", "stages.part"}
    assert found() == first
    part = tmp_path / "stages" / "part.py"
    part.write_text("# in other words\nnumber = 1\n")
    assert found() == first
    part.write_text("number = 2\n")
    changed = found()
    assert changed != first
    kept.unlink()
    assert found() == changed


def test_a_module_that_becomes_a_package_is_read_anew(monkeypatch, tmp_path):
    """Its relative imports mean others, though its content is the same."""
    source = "from .other import number\n"
    for name, text in (("__init__", ""), ("step", source), ("other", "number = 1\n")):
        (tmp_path / "stages").mkdir(exist_ok=True)
        (tmp_path / "stages" / f"{name}.py").write_text(text)
    monkeypatch.setattr(digest, "ROOT", tmp_path)
    monkeypatch.setattr(digest, "HERE", tmp_path)
    for name in ("digest.py", "prose.py"):
        (tmp_path / name).touch()
    digest._project.cache_clear()
    try:
        before = digest.code_digest("stages.step")
        (tmp_path / "stages" / "step").mkdir()
        (tmp_path / "stages" / "step.py").rename(tmp_path / "stages" / "step" / "__init__.py")
        digest._project.cache_clear()
        after = digest.code_digest("stages.step")
    finally:
        digest._project.cache_clear()
    assert before != after
