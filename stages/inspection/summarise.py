"""What a finished workflow took and gave: time and memory of each stage, metrics of each run, what to open."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from stages.core.artifacts.metrics import read_metrics
from stages.core.workflow.benchmarks import StepCost, read_benchmarks
from stages.core.workflow.headline import HEADLINE, headline
from stages.core.workflow.step import clock
from stages.inspection.critical_path import read_needs, write_times

METRICS = ("*/*/metrics.json", "*/*/*/metrics.json")  # of runs, and of their parts
PACKED = "model"  # folder of a packed model, whose metrics are copies
LONGEST = 3  # steps of the critical path that are named
PAGES = ("times.svg", "comparison.html", "gallery/index.html", "*/gallery/index.html", "suspect_tags/index.html")


def summarise(results: Path, *, stage_of: Mapping[str, str], column: str = HEADLINE) -> None:
    """Print the summary of `results/{dataset}`, from Snakemake's benchmark files and the runs' metrics.

    Where benchmarks/needs.json says which steps wait for which, times.json and times.svg are written there.

    `stage_of` names the stage of each rule, in the order of the graph; steps of other rules stand by themselves.
    `column` of a comparison is the headline metric.
    """
    costs = read_benchmarks(results / "benchmarks")
    times = time_lines(costs, stage_of) + path_lines(costs, results, stage_of)
    print("\n".join(["", *times, "", *metric_lines(results, column), "", *pages(results)]))


def time_lines(found: list[StepCost], stage_of: Mapping[str, str]) -> list[str]:
    """A table of wall time, peak memory and the slowest step of each stage, of each step's last run, and their sum."""
    costs: dict[str, list[StepCost]] = {stage: [] for stage in stage_of.values()}
    for cost in found:
        costs.setdefault(stage_of.get(cost.rule, cost.rule), []).append(cost)
    width = max(map(len, costs), default=0)
    lines = [_stage_line(stage, steps, width) for stage, steps in costs.items() if steps]
    total = sum(cost.seconds for steps in costs.values() for cost in steps)
    head = f"{'stage':<{width}}      time    memory  steps  slowest"
    return [head, *lines, f"{'all':<{width}}  {clock(total):>8}            one after the other"]


def path_lines(costs: list[StepCost], results: Path, stage_of: Mapping[str, str]) -> list[str]:
    """The critical path's longest steps; writes times.json and times.svg. Nothing where needs are not known."""
    needs = read_needs(results / "benchmarks")
    if needs is None or not costs:
        return []
    chain = write_times(
        costs, needs, stage_of=stage_of, output_json=results / "times.json", output_plot=results / "times.svg"
    )
    longest = sorted(chain, key=lambda cost: -cost.seconds)[:LONGEST]
    shown = ", ".join(f"{cost.step} {clock(cost.seconds)}" for cost in longest)
    return [f"of which {clock(sum(cost.seconds for cost in chain))} wait for each other: {shown}"]


def _stage_line(stage: str, steps: list[StepCost], width: int) -> str:
    slowest = max(steps, key=lambda cost: cost.seconds)
    known = [cost.megabytes for cost in steps if cost.megabytes is not None]
    memory = f"{max(known):.0f} MB" if known else "-"
    seconds = sum(cost.seconds for cost in steps)
    longest = f"{slowest.step} {clock(slowest.seconds)}"
    return f"{stage:<{width}}  {clock(seconds):>8}  {memory:>8}  {len(steps):>5}  {longest}"


def metric_lines(results: Path, column: str) -> list[str]:
    """The headline metric of each run and split."""
    lines = []
    found = [path for pattern in METRICS for path in results.glob(pattern)]
    for path in sorted(path for path in found if path.parent.name != PACKED):
        run, split = path.relative_to(results).parent.parent.as_posix(), path.parent.name
        lines.append(headline(read_metrics(path, also=("supervision",)), run=run, split=split, column=column))
    return lines


def pages(results: Path) -> list[str]:
    """What to open."""
    return [f"open {path}" for pattern in PAGES for path in sorted(results.glob(pattern))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.inspection.summarise", description=__doc__)
    parser.add_argument("results", type=Path, help="folder of a data set's results")
    parser.add_argument("--stages", nargs="*", default=[], metavar="RULE=STAGE", help="stage of each rule, in order")
    parser.add_argument("--headline", default=HEADLINE, help="column of a comparison that matters most")
    values = parser.parse_args()
    summarise(values.results, stage_of=dict(pair.split("=", 1) for pair in values.stages), column=values.headline)
