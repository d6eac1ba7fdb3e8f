"""The comparison as a page: what its template shows of tables, charts, papers, settings and costs."""

from pathlib import Path
from typing import Any

from stages.core.workflow import step
from stages.core.workflow.benchmarks import StepCost
from stages.core.workflow.pages import render_page
from stages.evaluation.costs import Costs
from stages.evaluation.paper_tables import Cell, PaperTable
from stages.evaluation.run_charts import EDGE, HEIGHT, WIDTH, Series, bars_of, polyline
from stages.evaluation.seeds import Spread
from stages.evaluation.settings_table import setting_cells, setting_text
from stages.evaluation.table import Table, rest, shown_number
from stages.evaluation.wording import shown
from stages.ops.colours import INK_ON, KINDS
from stages.ops.errors import MEANINGS

TEMPLATE = Path(__file__).with_name("comparison.html.jinja")
STYLE, SCRIPT = "comparison.css", "comparison.js"
OWN = 3  # settings of a run that stand below its name; the others are counted
LEGIBLE = 7  # percent; width of a part of a bar from which its number fits


def page(
    tables: list[Table],
    charts: list[list[Series]],
    seeds: list[list[dict[str, Any]]],
    papers: list[list[PaperTable]],
    *,
    differences: dict[str, dict[str, Any]],
    own: dict[str, dict[str, Any]],
    borrowed: list[list[str]],
    costs: list[Costs],
    runs: list[str],
    notice: list[str],
) -> str:
    """The page as text; the lists go along with the tables."""
    slowest = max((cost.seconds for group in costs for cost in group.steps), default=0) or 1
    return render_page(
        TEMPLATE,
        style=STYLE,
        script=SCRIPT,
        notice=notice,
        runs=runs,
        splits=[
            {
                "about": table.about,
                "shared": _shared(table),
                "headline": table.headline,
                "columns": table.short[1:],
                "rest": rest(table),
                "rows": _rows(table, series, own),
                "seeds": [_seed_row(row, table.short) for row in found],
                "papers": [_paper(one) for one in published],
                "charts": _charts(series),
            }
            for table, series, found, published in zip(tables, charts, seeds, papers, strict=True)
        ],
        differences=[(key, setting_cells(values, runs)) for key, values in differences.items()],
        borrowed=borrowed,
        costs=[
            {
                "run": group.run,
                "total": step.clock(group.seconds),
                "steps": [_cost(cost, slowest) for cost in group.steps],
            }
            for group in costs
        ],
    )


def number_with_spread(found: Spread | None) -> str:
    """A number, or the mean of several with their standard deviation."""
    if found is None:
        return "-"
    return f"{found.mean:.1f}" if found.deviation is None else f"{found.mean:.1f} ± {found.deviation:.1f}"


def _shared(table: Table) -> dict[str, str]:
    """Method and supervision where all rows have the same: said once, no column."""
    same = {key: {row[key] for row in table.rows} for key in ("method", "supervision")}
    return {key: next(iter(values)) for key, values in same.items() if len(values) == 1}


def _rows(table: Table, series: list[Series], own: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the short and the long table, best first."""
    by_name = {row["run"]: row for row in table.rows}
    found = []
    for one in series:
        row, run = by_name[one.run], one.run.partition("/")[0]
        named = own.get(run, {}) if one.run == run else {}
        found.append(
            {
                **{key: row[key] for key in ("run", "method", "supervision")},
                "gallery": run,
                "own": [
                    (".".join(key.split(".")[-2:]), key, setting_text(value))
                    for key, value in list(named.items())[:OWN]
                ],
                "more": max(len(named) - OWN, 0),
                "headline": _number(table, row, table.headline),
                "numbers": [_number(table, row, column) for column in table.short[1:]],
                "rest": [_number(table, row, column) for column in rest(table)],
            }
        )
    return found


def _number(table: Table, row: dict[str, Any], column: str) -> dict[str, Any]:
    text, best = shown_number(table, row, column)
    return {"text": text, "best": best, "value": row["values"][column]}


def _seed_row(row: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    spreads = [None if row["values"][column] is None else Spread(**row["values"][column]) for column in columns]
    return {
        "runs": row["runs"],
        "numbers": [
            {"text": number_with_spread(one), "value": one and one.mean, "n": one.n if one else 0} for one in spreads
        ],
    }


def _paper(table: PaperTable) -> dict[str, Any]:
    lines = []
    for labels, cells in table.lines:
        names = [[found.runs for found in cell.ours] for cell in cells]
        alike = all(one == names[0] for one in names)
        lines.append(
            {
                "labels": labels,
                "cells": [_paper_cell(cell, named=not alike) for cell in cells],
                "runs": [name for found in names[0] for name in found] if alike else [],
            }
        )
    return {
        "about": table.about,
        "comparable": table.comparable,
        "heads": table.heads,
        "columns": table.columns,
        "lines": lines,
        "open": table.filled >= 0.5,
    }


def _paper_cell(cell: Cell, *, named: bool) -> dict[str, Any]:
    return {
        "ours": [number_with_spread(found.value) for found in cell.ours],
        "paper": None if cell.paper is None else f"{cell.paper:.1f}",
        "runs": [name for found in cell.ours for name in found.runs] if named else [],
    }


def _charts(series: list[Series]) -> dict[str, Any]:
    first = series[0].data
    kinds: list[dict[str, Any]] = [
        {
            "title": title,
            "rows": [
                {"one": one, "bars": bars_of(one, which), "text": _in_words(bars_of(one, which))} for one in series
            ],
        }
        for which, title in (
            ("instances", f"The strongest prediction on each of the {first['errors']['instances']['total']} instances"),
            ("predictions", "The best predictions, as many as there are instances"),
        )
    ]
    used = [kind for kind in KINDS if any(kind == name for block in kinds for name, *_ in block["rows"][0]["bars"])]
    meanings = MEANINGS | {"missed": "no prediction overlaps the instance by an IoU of 0.1"}
    return {
        "series": series,
        "at": f"preset {first['preset']} at IoU {first['overlap']:g}",
        "plot": {"width": WIDTH, "height": HEIGHT, "edge": EDGE},
        "lines": [(one, polyline(one)) for one in series],
        "kinds": kinds,
        "colours": {kind: (KINDS[kind], INK_ON.get(kind, "#000000"), meanings[kind]) for kind in used},
        "legible": LEGIBLE,
        "sizes": [
            f"{group['from']} to {group['to']} px ({group['n_instances']})" for group in first["sizes"]["groups"]
        ],
        "by_size": [
            {
                "one": one,
                "ECE": _known(one.data["reliability"]["ECE"]),
                "AP": [_known(group["AP"]) for group in one.data["sizes"]["groups"]],
            }
            for one in series
        ],
        "classes": [
            {
                "name": name,
                "n": found["n_instances"],
                "bars": [(one, _known(one.data["per_class"][name]["AP"])) for one in series],
            }
            for name, found in first["per_class"].items()
        ],
    }


def _known(value: float | None) -> dict[str, Any]:
    return {"text": shown(value), "value": value}


def _in_words(bars: list[tuple[str, int, float]]) -> str:
    """A stacked bar for who does not see it."""
    return ", ".join(f"{kind} {share:.0f} % ({count})" for kind, count, share in bars if count) or "nothing to measure"


def _cost(cost: StepCost, slowest: float) -> dict[str, Any]:
    return {
        "step": cost.step,
        "seconds": cost.seconds,
        "share": 100 * cost.seconds / slowest,
        "cells": cost_cells(cost),
        "cpu": cost.cpu_seconds,
        "memory": cost.megabytes,
    }


def cost_cells(cost: StepCost) -> list[str]:
    """Wall time, processor time and peak memory as text."""
    processor = "-" if cost.cpu_seconds is None else step.clock(cost.cpu_seconds)
    return [step.clock(cost.seconds), processor, "-" if cost.megabytes is None else f"{cost.megabytes:.0f} MB"]
