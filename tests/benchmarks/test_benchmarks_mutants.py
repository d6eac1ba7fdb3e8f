from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from benchmarks import mutants
from benchmarks.mutations import mutants_of

MADE = {
    "x = a < b": {"(a <= b)", "(a >= b)"},
    "x = a == b": {"(a != b)"},
    "x = a <= b < c": {"(a < b < c)", "(a > b < c)", "(a <= b <= c)", "(a <= b >= c)"},
    "x = c - a * b": {"(c + a * b)", "(a / b)"},
    "x //= y": {"x *= y"},
    "x = a and b": {"(a or b)"},
    "x = not a": {"a"},
    "x = -a": {"a"},
    "x = 3": {"4", "2"},
    "x = 0.5": {"1.0"},
    "x = 0.0": {"1.0"},
    "x = y.sum(axis=0, keepdims=True)": {"1", "(-1)", "False"},
    "x = min(a, b)": {"max"},
    "x = y.any() + np.argmax(y)": {"y.all", "np.argmin", "(y.any() - np.argmax(y))"},
    "x = max(floor, np.ceil)": {"min", "np.floor"},
    "x = np.abs(a)": {"a"},
    "x = a.abs()": {"a"},
    "x = y[a:b]": {"0", "None", "(a + 1)", "(b + 1)"},
    "if a:\n    x()": {"True", "False"},
    "x = a if b else c": {"True", "False"},
    "x = [a for a in b if c(a)]": {"True"},
    "while a:\n    x()": {"False"},
    "def f(x=True): pass": {"False"},
}

LEFT_ALONE = {
    "docstring": 'def f():\n    """1 < 2."""\n    ...',
    "annotation": "x: f[1] = y\ndef g(x: h[2]) -> h[3]: pass",
    "decorator": "@dataclass(frozen=True)\nclass A: pass",
    "error": 'raise ValueError(f"{a + 1} of 2" + str(3))',
    "log": "log.info(a + 1)",
    "f-string": 'x = f"{a + 1}"',
    "text": 'x = "a" + b',
    "types": "if TYPE_CHECKING:\n    x = 1",
    "command line": 'if __name__ == "__main__":\n    x(1)',
}


@pytest.mark.parametrize("source", MADE)
def test_makes_the_mutants_it_promises(source):
    found = mutants_of(source)
    assert {one.name.split(" -> ")[1] for one in found} == MADE[source]
    assert len({ast.dump(ast.parse(one.source)) for one in found} | {ast.dump(ast.parse(source))}) == len(found) + 1


@pytest.mark.parametrize("source", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_leaves_alone_what_is_no_code(source):
    assert mutants_of(source) == []


def test_a_mutant_differs_in_one_place_and_is_named_by_its_line():
    source = 'def f(ä):  # a comment\n    return "ß", (ä +\n        1) * 2, 2\n'
    by_name = {one.name: one for one in mutants_of(source)}
    assert by_name["1) * 2, 2 | 2 -> 3"].source == source.replace("* 2", "* 3")
    assert by_name["1) * 2, 2 | 2 -> 3 (2)"].source == source.replace(", 2\n", ", 3\n")
    sums = by_name['return "ß", (ä + | ä + 1 -> (ä - 1)']
    assert (sums.line, sums.source) == (2, source.replace("(ä +\n        1)", "((ä - 1))"))


def test_tells_killed_from_surviving_and_judges_only_survivors_again(tmp_path):
    (tmp_path / "toy.py").write_text("def larger(a, b):\n    return a if a > b else b\n")
    (tmp_path / "test_toy.py").write_text(
        "from toy import larger\n\n\ndef test_larger():\n    assert larger(1, 2) == 2\n"
        "    while larger(2, 1) != 2:  # without end\n        pass\n"
    )
    output = tmp_path / "mutants.json"

    def run(*words):
        command = [sys.executable, "-m", "benchmarks.mutants", "--root", str(tmp_path), "--modules", "toy"]
        command += ["--tests", "test_toy.py", "--output", str(output), "--limit", "2", *words]
        done = subprocess.run(command, cwd=mutants.ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    first = run()
    line = "return a if a > b else b |"
    assert {name: one["by"] for name, one in json.loads(output.read_text())["toy"]["judged"].items()} == {
        f"{line} a > b -> (a >= b)": "passed",
        f"{line} a > b -> (a <= b)": "test_toy.py::test_larger",
        f"{line} a > b -> True": "test_toy.py::test_larger",
        f"{line} a > b -> False": "time",
    }
    assert "| toy | 4 | 4 | 3 | 0 | 1 |" in first.stdout
    assert first.stdout.splitlines()[-1] == f"toy:2: {line} a > b -> (a >= b)"
    assert run("--again").stderr == f"toy:2: {line} a > b -> (a >= b): passed\n"


def test_every_module_and_test_of_the_table_is_there(project_root):
    named = [f"{module.replace('.', '/')}.py" for module in mutants.TESTS]
    named += [file for files in mutants.TESTS.values() for file in files]
    assert [name for name in named if not (project_root / name).is_file()] == []


def test_each_mutant_listed_as_equivalent_is_one_of_its_module_and_has_a_reason(project_root):
    for module, reasons in mutants.equivalent().items():
        made = {one.name for one in mutants_of((project_root / f"{module.replace('.', '/')}.py").read_text())}
        assert reasons.keys() <= made
        assert all(reasons.values())
