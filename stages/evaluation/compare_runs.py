"""Step `compare_runs`: several runs side by side: metrics, settings that differ, time and memory."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

from stages.core.artifacts.files import write_json, write_text
from stages.core.artifacts.metrics import read_metrics
from stages.core.workflow import step
from stages.core.workflow.benchmarks import StepCost, read_benchmarks
from stages.core.workflow.pages import render_page
from stages.core.workflow.trial import trial_notice
from stages.evaluation.settings import ComparisonSettings
from stages.evaluation.settings_table import differing_settings
from stages.evaluation.table import NEEDED, Table, build_tables, cell, markdown, rest, sheet, shown_number

log = logging.getLogger(__name__)
TEMPLATE = Path(__file__).with_name("comparison.html.jinja")


def compare_runs(
    *,
    metrics: list[Path],
    benchmarks: Path,
    output_markdown: Path,
    output_html: Path,
    output_json: Path,
    settings: ComparisonSettings,
) -> None:
    """Put the metrics of several runs side by side, two tables per split, with what they differ in and what they took.

    Args:
        metrics: metrics.json of each run and split, in the order of the rows.
        benchmarks: folder of Snakemake's benchmark files; steps that are not there have no row.
        output_markdown: the tables to read in a text.
        output_html: the tables to read in a browser, with links to where the runs' galleries stand.
        output_json: the tables to compute with, in percent, seconds and MB, null where unknown.
        settings: all settings of the runs.

    Raises:
        ValueError: runs on a split were measured on different images or with different treatment, or given twice.
    """
    tables = build_tables({path: read_metrics(path, also=NEEDED) for path in metrics})
    differences = differing_settings(settings.runs)
    costs = costs_of_runs(read_benchmarks(benchmarks), runs=list(settings.runs))
    write_json(
        output_json,
        {
            "trial": settings.trial,
            "tables": [dataclasses.asdict(table) for table in tables],
            "differences": differences,
            "costs": [dataclasses.asdict(cost) for cost in costs],
        },
    )
    notice = [] if settings.trial is None else trial_notice(settings.trial)
    blocks = ["\n".join(notice) + "\n" if notice else "", *(markdown(table) for table in tables)]
    blocks += [_settings_block(differences, list(settings.runs)), _costs_block(costs)]
    write_text(output_markdown, "\n".join(block for block in blocks if block))
    write_text(output_html, _page(tables, differences, costs, runs=list(settings.runs), notice=notice))
    log.info("%s", "\n".join(blocks[: 1 + len(tables)]).strip())


def costs_of_runs(costs: list[StepCost], *, runs: list[str]) -> list[StepCost]:
    """Costs of the steps that runs share, then of each run's own, slowest first within each; other runs' left out."""
    groups: dict[str | None, list[StepCost]] = {None: [], **{run: [] for run in runs}}
    for cost in costs:
        owner = cost.step.split("/")[0] if "/" in cost.step else None
        if owner in groups:
            groups[owner].append(cost)
    return [cost for group in groups.values() for cost in sorted(group, key=lambda cost: -cost.seconds)]


def _settings_block(differences: dict[str, dict[str, Any]], runs: list[str]) -> str:
    if not differences:
        return ""
    rows = [[key, *(_value(values, run) for run in runs)] for key, values in differences.items()]
    return "Settings that differ (-: the run's method does not read it).\n\n" + sheet(["setting", *runs], rows)


def _costs_block(costs: list[StepCost]) -> str:
    if not costs:
        return ""
    rows = [[cost.step, *_cost_cells(cost)] for cost in costs]
    text = "Time and peak memory of each step when it last ran; steps without a run's name are shared."
    return f"{text}\n\n" + sheet(["step", "wall time", "processor time", "peak memory"], rows, numbers=3)


def _cost_cells(cost: StepCost) -> list[str]:
    processor = "-" if cost.cpu_seconds is None else step.clock(cost.cpu_seconds)
    return [step.clock(cost.seconds), processor, "-" if cost.megabytes is None else f"{cost.megabytes:.0f} MB"]


def _value(values: dict[str, Any], run: str) -> str:
    return cell(values[run]) if run in values else "-"


def _shown_part(table: Table, columns: list[str]) -> dict[str, Any]:
    """Some columns of a table, with the numbers of each row as text."""
    rows = [row | {"numbers": [shown_number(table, row, column) for column in columns]} for row in table.rows]
    return {"columns": columns, "rows": rows}


def _page(
    tables: list[Table],
    differences: dict[str, dict[str, Any]],
    costs: list[StepCost],
    *,
    runs: list[str],
    notice: list[str],
) -> str:
    shown = [
        {
            "about": table.about,
            "parts": [_shown_part(table, columns) for columns in (table.headline, rest(table)) if columns],
        }
        for table in tables
    ]
    return render_page(
        TEMPLATE,
        notice=notice,
        tables=shown,
        runs=runs,
        differences=[(key, [_value(values, run) for run in runs]) for key, values in differences.items()],
        costs=[(cost.step, _cost_cells(cost)) for cost in costs],
    )


if __name__ == "__main__":
    step.run(compare_runs)
