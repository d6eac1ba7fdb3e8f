"""The settings that differ between a paper, its official code and ours, read from the presets: docs/reproducing.md."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from stages.project.explain_settings import scalar
from stages.project.project import ProjectBase, load_files

PHOTOGRAPHS = ("image_folder",)  # the preset for photographs that we have tuned, on voc_animals
MISSING = object()


@dataclass(frozen=True)
class Compared:
    """One paper's settings.

    Attributes:
        title: heading.
        paper: presets of the paper, each on the ones before.
        official: presets of its official code.
        section: of the method.
        classifier: name of the classifier that the paper's run takes cues from; ours takes `ours`.
        ours: name of ours.
    """

    title: str
    paper: Sequence[str]
    official: Sequence[str]
    section: str
    classifier: str
    ours: str


BESTIE = ("voc2012", "voc2012_bestie")
PAPERS = (
    Compared("CIM", ("voc2012",), ("voc2012", "voc2012_released"), "cim", "prm", "cam"),
    Compared("BESTIE", BESTIE, (*BESTIE, "voc2012_bestie_released"), "bestie", "pam", "pam"),
)


def settings_compared(root: Path) -> str:
    """A table for each paper, Markdown; `root`: of the project."""
    return "\n".join(line for one in PAPERS for line in _tables(one, root)) + "\n"


def _tables(one: Compared, root: Path) -> Iterator[str]:
    projects = [_loaded(root, presets) for presets in (one.paper, one.official, PHOTOGRAPHS)]
    names = (one.classifier, one.classifier, one.ours)
    parts = {
        f"`{one.section}`": [getattr(project, one.section) for project in projects],
        "`classifier.<name>`": [project.classifier[name] for project, name in zip(projects, names, strict=True)],
    }
    for name, sections in parts.items():
        yield f"### {one.title}: {name}\n"
        if name == "`classifier.<name>`":
            yield f"Classifier {one.classifier!r} of the paper's and the official presets, {one.ours!r} of ours.\n"
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
