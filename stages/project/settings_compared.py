"""The settings that differ between a paper, its official code and ours, read from the presets: docs/reproducing.md."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from stages.core.workflow.method import Method, Published
from stages.project.explain_settings import scalar
from stages.project.methods import METHODS
from stages.project.project import ProjectBase, load_files

PHOTOGRAPHS = ("image_folder",)  # the preset for photographs that we have tuned, on voc_animals
MISSING = object()


def settings_compared(root: Path) -> str:
    """Tables for each method whose description says what is published, Markdown; `root`: of the project."""
    compared = [(method, method.published) for method in METHODS.values() if method.published]
    return "\n".join(line for method, published in compared for line in _tables(method, published, root)) + "\n"


def _tables(method: Method, published: Published, root: Path) -> Iterator[str]:
    projects = [_loaded(root, presets) for presets in (published.paper, published.official, PHOTOGRAPHS)]
    names = (published.classifier, published.classifier, published.ours)
    title, _, _ = method.title.partition(" (")
    parts = {
        f"`{method.name}`": [getattr(project, method.name) for project in projects],
        "`classifier.<name>`": [project.classifier[name] for project, name in zip(projects, names, strict=True)],
    }
    for name, sections in parts.items():
        yield f"### {title}: {name}\n"
        if name == "`classifier.<name>`":
            theirs, ours = published.classifier, published.ours
            yield f"Classifier {theirs!r} of the paper's and the official presets, {ours!r} of ours.\n"
        yield "| key | paper | official code | ours, for photographs |"
        yield "| --- | --- | --- | --- |"
        yield from _rows([section.model_dump(mode="json") for section in sections])
        yield ""


def _loaded(root: Path, presets: Sequence[str]) -> ProjectBase:
    # Presets name folders below this variable; here no folder is read.
    with mock.patch.dict("os.environ", {"TAGMASK_DATA": "${TAGMASK_DATA}"}):
        return load_files(root / "config.yaml", *[root / "presets" / f"{name}.yaml" for name in presets])


def _rows(values: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    leaves = [dict(_leaves(value)) for value in values]
    for path in dict.fromkeys(itertools.chain.from_iterable(leaves)):
        cells = [found.get(path, MISSING) for found in leaves]
        if any(cell != cells[0] for cell in cells):
            shown = ["" if cell is MISSING else f"`{scalar(cell)}`" for cell in cells]
            yield f"| `{path}` | {' | '.join(shown)} |"


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        at = f"{path}.{key}" if path else key
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, at)
        else:
            yield at, inner
