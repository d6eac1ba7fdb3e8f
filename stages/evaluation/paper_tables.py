"""Runs laid out as the tables of the papers, with the papers' numbers where the data are the papers'.

The tables stand in paper_tables.json. A cell has conditions on settings (`where`, of table, column and line together),
a metric, and the paper's number; `part` names a part of a run. A line without `where` of its own that is null is made
by no setting here. `iterations` counts the runs that a run iterates, one after the other; `varies` names settings that
go along with the conditions.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.evaluation.seeds import ITERATES, Spread, identity, part_settings, spread
from stages.evaluation.settings_table import flat_settings
from stages.evaluation.table import Table

TABLES = Path(__file__).with_name("paper_tables.json")
ITERATIONS = "iterations"


@dataclass(frozen=True)
class Found:
    """What stands for a cell: the runs (with their part), and their number; several runs differ in seeds alone."""

    runs: list[str]
    value: Spread | None


@dataclass(frozen=True)
class Cell:
    """A cell of a paper's table.

    Attributes:
        ours: what we have for it; several where runs fit that differ in more than seeds.
        paper: the paper's number; None where it has none, or where the data are others.
    """

    ours: list[Found]
    paper: float | None


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper, with our numbers.

    Attributes:
        about: paper, table, caption, preset, and `data`: where the paper measured.
        comparable: whether our data are the paper's; else its numbers are left out.
        heads: of the labels; columns: of the cells.
        lines: labels and cells of each line.
        filled: share of the conditions for which there is a run.
    """

    about: dict[str, str]
    comparable: bool
    heads: list[str]
    columns: list[str]
    lines: list[tuple[list[str], list[Cell]]]
    filled: float


def paper_tables(
    table: Table, runs: dict[str, dict[str, Any]], *, data: str, class_count: int, trial: int | None
) -> list[PaperTable]:
    """The papers' tables of which at least two conditions are met by runs that are alike in all else.

    Args:
        table: metrics of runs and their parts on a split.
        runs: all settings of each run.
        data: kind of the data set.
        class_count: number of its classes.
        trial: images of a trial; None: the full run.
    """
    found = []
    for wanted in json.loads(TABLES.read_text(encoding="utf-8")):
        measured = wanted["data"]
        ours = (data, table.about["n_images"], class_count)
        comparable = trial is None and ours == (measured["kind"], measured["n_images"], measured["n_classes"])
        found += [_filled(wanted, table, chosen, comparable) for chosen in _alike(wanted, table, runs)]
    return [one for one in found if one is not None]


def _alike(wanted: dict[str, Any], table: Table, runs: dict[str, dict[str, Any]]) -> list[dict[str, dict[str, Any]]]:
    """Runs that fit a condition of a table, in groups that are alike in all other settings but seeds."""
    conditions = _conditions(wanted)
    free = {key for where, _ in conditions for key in where} | set(wanted.get("varies", ()))
    measured = {row["run"].partition("/")[0] for row in table.rows}
    runs = {name: part_settings(settings, "") for name, settings in runs.items()}
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for name in runs:
        flat = flat_settings(runs[name]) | {ITERATIONS: _iterations(runs, name)}
        if name in measured and any(_fits(flat, where) for where, _ in conditions):
            same, _ = identity({**runs, name: _without(runs[name], free)}, name)
            groups.setdefault(same, {})[name] = {"flat": flat, "identity": identity(runs, name)[0]}
    return list(groups.values())


def _filled(
    wanted: dict[str, Any], table: Table, chosen: dict[str, dict[str, Any]], comparable: bool
) -> PaperTable | None:
    values = {row["run"]: row["values"] for row in table.rows}
    lines = []
    for line in wanted["lines"]:
        if line.get("where", {}) is None and not comparable:
            continue  # a line of the paper alone
        cells = []
        for column, paper in zip(wanted["columns"], line["paper"], strict=True):
            metric, part = line.get("metric") or column.get("metric"), line.get("part", "")
            where = _where(wanted, column, line)
            alike: dict[str, list[str]] = {}
            for name, run in chosen.items():
                full = f"{name}/{part}".rstrip("/")
                if where is not None and _fits(run["flat"], where) and full in values:
                    alike.setdefault(run["identity"], []).append(full)
            ours = [Found(names, spread(values[name].get(metric) for name in names)) for names in alike.values()]
            cells.append(Cell(ours, paper if comparable else None))
        lines.append((line["labels"], cells))
    conditions = _conditions(wanted)
    met = sum(
        any(_fits(run["flat"], where) and f"{name}/{part}".rstrip("/") in values for name, run in chosen.items())
        for where, part in conditions
    )
    if met < 2:
        return None
    about = {key: wanted[key] for key in ("id", "paper", "table", "caption", "preset")} | {
        "data": wanted["data"]["name"]
    }
    titles = [column["title"] for column in wanted["columns"]]
    return PaperTable(about, comparable, wanted["heads"], titles, lines, met / len(conditions))


def _conditions(wanted: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """The different conditions of a table's cells, with the part that each asks for."""
    found: list[tuple[dict[str, Any], str]] = []
    for line in wanted["lines"]:
        for column in wanted["columns"]:
            where, part = _where(wanted, column, line), line.get("part", "")
            if where is not None and (where, part) not in found:
                found.append((where, part))
    return found


def _where(wanted: dict[str, Any], column: dict[str, Any], line: dict[str, Any]) -> dict[str, Any] | None:
    """Conditions of a cell; None where no setting makes it."""
    own = line.get("where", {})
    return None if own is None else wanted["where"] | column.get("where", {}) | own


def _fits(flat: dict[str, Any], where: dict[str, Any]) -> bool:
    return all(key in flat and flat[key] == value for key, value in where.items())


def _iterations(runs: dict[str, dict[str, Any]], name: str) -> int:
    """How many runs a run iterates, one after the other."""
    seen: list[str] = []
    before: Any = name
    while before in runs and before not in seen:
        seen.append(before)
        before = runs[before].get(ITERATES)
    return len(seen) - 1


def _without(settings: dict[str, Any], keys: set[str], path: str = "") -> dict[str, Any]:
    """Settings without the keys of these dotted paths; without what is iterated where iterations are counted."""
    kept = {}
    for key, value in settings.items():
        full = f"{path}.{key}" if path else key
        if full in keys or (full == ITERATES and ITERATIONS in keys):
            continue
        kept[key] = _without(value, keys, full) if isinstance(value, dict) else value
    return kept
