"""Step `compare_runs`: several runs side by side: metrics, charts, settings that differ, time and memory."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

from stages.core.artifacts.files import read_json, write_json, write_text
from stages.core.artifacts.metrics import read_metrics
from stages.core.workflow import step
from stages.core.workflow.benchmarks import read_benchmarks
from stages.core.workflow.trial import trial_notice
from stages.evaluation.borrowed import BorrowedRow, borrowed_rows
from stages.evaluation.comparison_page import cost_cells, number_with_spread, page
from stages.evaluation.costs import Costs, costs_of_runs
from stages.evaluation.paper_tables import Cell, PaperTable, paper_tables
from stages.evaluation.run_charts import charts_of, check_charts, markdown_charts, summary
from stages.evaluation.seeds import Spread, part_settings, seed_rows
from stages.evaluation.settings import ComparisonSettings
from stages.evaluation.settings_table import differing_settings, own_settings, setting_cells
from stages.evaluation.table import NEEDED, build_tables, cell, markdown, sheet

log = logging.getLogger(__name__)


def compare_runs(
    *,
    metrics: list[Path],
    charts: list[Path],
    borrowed: list[Path],
    benchmarks: Path,
    output_markdown: Path,
    output_html: Path,
    output_json: Path,
    settings: ComparisonSettings,
) -> None:
    """Put several runs side by side: the number that matters first, then why, what they differ in, what they took.

    Args:
        metrics: metrics.json of each run and split, in the order of the rows.
        charts: charts.json of the same.
        borrowed: notes on what another project has made; none: everything is made here.
        benchmarks: folder of Snakemake's benchmark files; steps that are not there have no row.
        output_markdown: the tables to read in a text.
        output_html: tables and charts to read in a browser, with links to where the runs' galleries stand.
        output_json: the tables to compute with, in percent, seconds and MB, null where unknown.
        settings: all settings of the runs, and what is shown first.

    Raises:
        ValueError: runs on a split were measured on different images or with different treatment, or given twice;
            there are no charts of a run, or they are of other instances.
    """
    measured = {path: read_metrics(path, also=NEEDED) for path in metrics}
    charted = {path: read_json(path) for path in charts}
    tables = build_tables(measured, settings.shown)
    for path, found in charted.items():
        check_charts(path, found)
    series = [charts_of(table, measured, charted) for table in tables]
    seeds = [seed_rows(table.rows, settings.runs, table.columns) for table in tables]
    papers = [
        paper_tables(
            table,
            settings.runs,
            data=settings.data,
            class_count=len(one[0].data["per_class"]),
            trial=settings.trial,
        )
        for table, one in zip(tables, series, strict=True)
    ]
    differences = differing_settings(settings.runs)
    runs = list(settings.runs)
    lent = borrowed_rows(borrowed, settings.borrowed)
    costs = costs_of_runs(read_benchmarks(benchmarks), runs=runs, order=settings.steps)
    write_json(
        output_json,
        {
            "trial": settings.trial,
            "tables": [
                dataclasses.asdict(table)
                | {"seeds": spreads, "papers": [_as_json(one) for one in published], "charts": summary(one)}
                for table, spreads, published, one in zip(tables, seeds, papers, series, strict=True)
            ],
            "differences": differences,
            "borrowed": [dataclasses.asdict(row) for row in lent],
            "costs": [dataclasses.asdict(cost) for group in costs for cost in group.steps],
        },
    )
    notice = [] if settings.trial is None else trial_notice(settings.trial)
    blocks = ["\n".join(notice) + "\n"] if notice else []
    for table, spreads, published, one in zip(tables, seeds, papers, series, strict=True):
        blocks += [markdown(table), _seeds_block(spreads, table.short), *map(_paper_block, published)]
        blocks += [markdown_charts(one)]
    blocks += [_settings_block(differences, runs), _borrowed_block(lent), _costs_block(costs)]
    write_text(output_markdown, "\n".join(block for block in blocks if block))
    text = page(
        tables,
        series,
        seeds,
        papers,
        differences=differences,
        own=own_settings({run: part_settings(one, "") for run, one in settings.runs.items()}),
        borrowed=[row.cells() for row in lent],
        costs=costs,
        runs=runs,
        notice=notice,
    )
    write_text(output_html, text)
    seen = [*notice, *map(markdown, tables)]
    log.info("%s", "\n".join(seen).strip())


def _as_json(table: PaperTable) -> dict[str, Any]:
    return dataclasses.asdict(table) | {
        "lines": [
            {"labels": labels, "cells": [dataclasses.asdict(one) for one in cells]} for labels, cells in table.lines
        ]
    }


def _seeds_block(rows: list[dict[str, Any]], columns: list[str]) -> str:
    if not rows:
        return ""
    lines = []
    for row in rows:
        spreads = [row["values"][column] for column in columns]
        numbers = [number_with_spread(None if one is None else Spread(**one)) for one in spreads]
        lines.append([cell(", ".join(row["runs"])), str(len(row["runs"])), *numbers])
    text = "Runs that differ in seeds alone: mean ± standard deviation (of a sample, n - 1)."
    return f"{text}\n\n" + sheet(["runs", "n", *columns], lines, numbers=1 + len(columns))


def _paper_block(table: PaperTable) -> str:
    about = table.about
    text = f"{about['paper']}, {about['table']}. {about['caption']} ({about['preset']}). "
    text += (
        "The paper's numbers are in brackets; it measured on "
        if table.comparable
        else "The paper's numbers are left out, as they are not comparable: it measured on "
    )
    rows = []
    for labels, cells in table.lines:
        names = list(dict.fromkeys(name for one in cells for found in one.ours for name in found.runs))
        rows.append([*map(cell, labels), *map(_paper_cell, cells), cell(", ".join(names)) or "-"])
    return f"{text}{about['data']}.\n\n" + sheet([*table.heads, *table.columns, "runs"], rows)


def _paper_cell(found: Cell) -> str:
    ours = ", ".join(number_with_spread(one.value) for one in found.ours) or "-"
    return ours if found.paper is None else f"{ours} ({found.paper:.1f})"


def _settings_block(differences: dict[str, dict[str, Any]], runs: list[str]) -> str:
    if not differences:
        return ""
    rows = [[key, *map(cell, setting_cells(values, runs))] for key, values in differences.items()]
    return "Settings that differ (-: the run's method does not read it).\n\n" + sheet(
        ["setting", *map(cell, runs)], rows
    )


def _borrowed_block(rows: list[BorrowedRow]) -> str:
    if not rows:
        return ""
    text = (
        "Borrowed from other projects (in brackets: start of the SHA-256; settings there, and here where they differ)."
    )
    lines = [list(map(cell, row.cells())) for row in rows]
    return f"{text}\n\n" + sheet(["artifact", "from", "made by", "settings that differ"], lines)


def _costs_block(costs: list[Costs]) -> str:
    if not costs:
        return ""
    rows = [[cell(cost.step), *cost_cells(cost)] for group in costs for cost in group.steps]
    text = (
        "Time and peak memory of each step when it last ran, in the order of the pipeline; steps without a run's name"
        " are shared."
    )
    return f"{text}\n\n" + sheet(["step", "wall time", "processor time", "peak memory"], rows, numbers=3)


if __name__ == "__main__":
    step.run(compare_runs)
