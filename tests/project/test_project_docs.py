"""What the pages point to is there: links, files, laws; and the tables of docs/methods.md lead to code, keys and tests."""

import ast
import re
from functools import cache

import pytest

from stages.project.methods import METHODS
from stages.project.project import load_files
from tests.conftest import ROOT

PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "data/*.md", ".github/*.md", ".github/*/*.md")
    for path in ROOT.glob(pattern)
)
TEXTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("stages/**/*.py", "tests/**/*.py", "benchmarks/*.py", "rules/*.smk", "presets/**/*.yaml", "*.yaml")
    for path in [*ROOT.glob(pattern), ROOT / "Snakefile", ROOT / "pyproject.toml", ROOT / "Makefile"]
)
MADE = re.compile(r"results/|model/|\{|.*comparison\.md|\w\.md")  # pages that the graph, or a test, writes


def written(path):
    return (ROOT / path).read_text(encoding="utf-8")


def anchors(text):
    """The names under which GitHub knows the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading)).lower() for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_of_a_page_leads_somewhere(page):
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", written(page)):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_index_names_every_page():
    listed = set(re.findall(r"\]\(([\w./]+\.md)", written("docs/README.md")))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - listed == {"README.md"}


def test_every_page_that_code_or_pages_name_is_there():
    missing = []
    for path in [*PAGES, *dict.fromkeys(TEXTS)]:
        for line in written(path).splitlines():
            for name in re.findall(r"[\w{}./-]+\.md\b", line):
                places = [ROOT / name, (ROOT / path).parent / name, ROOT / "docs" / name]
                if not MADE.match(name) and not any(place.is_file() for place in places):
                    missing.append(f"{path}: {name}")
    assert missing == []


def test_every_law_that_is_cited_has_its_place_in_the_list():
    listed = re.findall(r"^(\d+)\. \*\*", written("CONTRIBUTING.md"), re.MULTILINE)
    assert listed == ["1", "2", "3", "4", "5", "6"]
    cited = {law for path in [*PAGES, *TEXTS] for law in re.findall(r"\blaw (\d+)\b", written(path))}
    assert {"1", "2"} <= cited <= set(listed)


def rows():
    """The rows of docs/methods.md that name a function: function, key and test of each."""
    table = [line for line in written("docs/methods.md").splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table]
    return [[cell.strip().strip("`") for cell in row[2:]] for row in cells if ".py:" in row[2]]


@cache
def names_of(path):
    """Functions, classes and `Class.method` of a file."""
    tree = ast.parse(written(path))
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = {node.name for node in tree.body if isinstance(node, kinds)}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return found | {f"{owner.name}.{node.name}" for owner in classes for node in owner.body if isinstance(node, kinds)}


def test_the_tables_of_methods_have_rows_of_five_cells_for_every_method():
    assert len(rows()) >= 35
    assert {len(row) for row in rows()} == {3}
    assert set(METHODS) <= {key.split(".")[0] for _, key, _ in rows()}


@pytest.mark.parametrize("function", sorted({row[0] for row in rows()}))
def test_a_function_that_the_methods_page_names_is_there(function):
    path, _, name = function.partition(":")
    assert name in names_of(path)


def test_keys_that_the_methods_page_names_are_settings():
    settings = load_files(ROOT / "config.yaml").model_dump()
    for _, key, _ in rows():
        value = settings
        for part in key.split("."):
            assert isinstance(value, dict) and part in value, key
            value = value[part]
        assert not isinstance(value, dict), key


@pytest.mark.parametrize("test", sorted({row[2] for row in rows()}))
def test_a_test_that_the_methods_page_names_is_there(test):
    path, _, name = test.partition("::")
    assert name in names_of(path)


def test_the_example_of_a_new_method_is_the_one_that_runs_in_the_tests():
    page = written("docs/adding_a_method.md")
    shown = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    folder = ROOT / "tests" / "pipeline" / "new_method"
    steps = {f"stages/mean_colour/{path.name}": path for path in folder.glob("mean_colour/[a-z]*.py")}
    for name, path in {**steps, "rules/mean_colour.smk": folder / "mean_colour.smk"}.items():
        assert shown[name] == path.read_text(encoding="utf-8"), name
    assert (folder / "run.yaml").read_text(encoding="utf-8") in page
