"""A table of several runs' metrics; every column names its preset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.artifacts.metrics import metric_columns
from stages.evaluation.settings import ShownSettings

SAME = ("dataset", "split", "n_images", "treatment", "units")  # what runs must share to stand in one table
NEEDED = ("method", "supervision", "inputs", *SAME)  # what a table asks of metrics beside the numbers


@dataclass(frozen=True)
class Table:
    """Runs on one split, in the order given.

    Attributes:
        about: what all runs share: dataset, split, number of images, treatment of unusual annotations, units.
        columns: keys of the numbers, such as "mAP50 (voc)".
        headline: the column that matters most.
        short: columns of the short table: the headline, then those that stand beside it.
        rows: run, method, supervision, and `values` by column; None where there is none.
    """

    about: dict[str, Any]
    columns: list[str]
    headline: str
    short: list[str]
    rows: list[dict[str, Any]]


def build_tables(metrics: dict[Path, dict[str, Any]], shown: ShownSettings) -> list[Table]:
    """A table for each split from metrics.json files with what is NEEDED; `shown` names the columns of the short table.

    Raises:
        ValueError: no file, or runs on a split that were measured on different images or with different treatment, or
            given twice, or without a column that is to be shown.
    """
    if not metrics:
        raise ValueError("no metrics.json given; a comparison needs at least one run")
    by_split: dict[tuple[str, str], dict[Path, dict[str, Any]]] = {}
    for path, found in metrics.items():
        by_split.setdefault((found["dataset"], found["split"]), {})[path] = found
    return [_build_table(group, shown) for group in by_split.values()]


def _build_table(metrics: dict[Path, dict[str, Any]], shown: ShownSettings) -> Table:
    _check_comparable(metrics)
    cells = {path: metric_columns(found) for path, found in metrics.items()}
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    rows = [
        {
            "run": found["run"],
            "method": found["method"],
            "supervision": found["supervision"],
            "values": {column: cells[path].get(column) for column in columns},
        }
        for path, found in metrics.items()
    ]
    first = next(iter(metrics.values()))
    short = [shown.headline, *shown.columns]
    lacking = [column for column in short if column not in columns]
    if lacking:
        raise ValueError(f"{next(iter(metrics))} has no {', '.join(lacking)}; there are {', '.join(columns)}")
    return Table({key: first[key] for key in SAME}, columns, shown.headline, short, rows)


def rest(table: Table) -> list[str]:
    """Columns of the long table."""
    return [column for column in table.columns if column not in table.short]


def markdown(table: Table) -> str:
    """The short and the long table as Markdown, with a line above that says what was measured and how."""
    about = table.about
    introduction = (
        f"{cell(about['dataset'])} {cell(about['split'])}, {about['n_images']} images, in {about['units']}; "
        "the preset stands in brackets, the best of a column is bold. "
        + " ".join(f"{key.capitalize()}: {text}." for key, text in about["treatment"].items())
    )
    short = _part(table, ["run", "method", "supervision"], table.short)
    long = f"\nThe other metrics:\n\n{_part(table, ['run'], rest(table))}" if rest(table) else ""
    return f"{introduction}\n\n{short}{long}"


def _part(table: Table, names: list[str], columns: list[str]) -> str:
    rows = []
    for row in table.rows:
        numbers = (shown_number(table, row, column) for column in columns)
        rows.append(
            [*(cell(row[name]) for name in names), *(f"**{text}**" if best else text for text, best in numbers)]
        )
    return sheet([*names, *columns], rows, numbers=len(columns))


def sheet(heads: list[str], rows: list[list[str]], *, numbers: int = 0) -> str:
    """A Markdown table of cells that are escaped already; the last `numbers` columns are set to the right."""
    rule = ["---"] * (len(heads) - numbers) + ["---:"] * numbers
    return "".join(f"| {' | '.join(row)} |\n" for row in [heads, rule, *rows])


def shown_number(table: Table, row: dict[str, Any], column: str) -> tuple[str, bool]:
    """A number of the table as text, and whether it is the best of several in its column."""
    value, best = row["values"][column], _best(table, column)
    if value is None:
        return "-", False
    return f"{value:.1f}", best is not None and f"{value:.1f}" == f"{best:.1f}"


def cell(text: Any) -> str:
    """Text that cannot end its cell or line of a Markdown table."""
    return " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|")


def _check_comparable(metrics: dict[Path, dict[str, Any]]) -> None:
    (first, reference), *others = metrics.items()
    runs = {reference["run"]: first}
    for path, found in others:
        for key in SAME:
            if found[key] != reference[key]:
                raise ValueError(
                    f"{path} has {key} {found[key]!r}, but {first} has {reference[key]!r}; numbers of different "
                    "measurements do not belong in one table: evaluate the runs alike"
                )
        if found["run"] in runs:
            raise ValueError(f"{runs[found['run']]} and {path} are both of run {found['run']!r}; give each run once")
        runs[found["run"]] = path


def _best(table: Table, column: str) -> float | None:
    known = [row["values"][column] for row in table.rows if row["values"][column] is not None]
    return max(known) if len(known) > 1 else None
