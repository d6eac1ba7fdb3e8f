"""What a finished workflow took and gave: time and memory of each stage, metrics of each run, what to open."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from stages.core.artifacts.metrics import read_metrics
from stages.core.workflow.benchmarks import StepCost, read_benchmarks
from stages.core.workflow.headline import HEADLINE, headline
from stages.core.workflow.step import clock

METRICS = ("*/*/metrics.json", "*/*/*/metrics.json")  # of runs, and of their parts
PACKED = "model"  # folder of a packed model, whose metrics are copies
PAGES = ("comparison.html", "gallery/index.html", "*/gallery/index.html", "suspect_tags/index.html")


def summarise(results: Path, *, stage_of: Mapping[str, str], column: str = HEADLINE) -> None:
    """Print the summary of `results/{dataset}`, from Snakemake's benchmark files and the runs' metrics.

    `stage_of` names the stage of each rule, in the order of the graph; steps of other rules stand by themselves.
    `column` of a comparison is the headline metric.
    """
    times, metrics = time_lines(results / "benchmarks", stage_of), metric_lines(results, column)
    print("\n".join(["", *times, "", *metrics, "", *pages(results)]))


def time_lines(benchmarks: Path, stage_of: Mapping[str, str]) -> list[str]:
    """A table of wall time, peak memory and the slowest step of each stage, of each step's last run, and their sum."""
    costs: dict[str, list[StepCost]] = {stage: [] for stage in stage_of.values()}
    for cost in read_benchmarks(benchmarks):
        rule = cost.step.rpartition("/")[2].partition(".")[0]
        costs.setdefault(stage_of.get(rule, rule), []).append(cost)
    width = max(map(len, costs), default=0)
    lines = [_stage_line(stage, steps, width) for stage, steps in costs.items() if steps]
    total = sum(cost.seconds for steps in costs.values() for cost in steps)
    head = f"{'stage':<{width}}      time    memory  steps  slowest"
    return [head, *lines, f"{'all':<{width}}  {clock(total):>8}            one after the other"]


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
