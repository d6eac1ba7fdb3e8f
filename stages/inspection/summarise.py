"""What a finished workflow took and gave: time and memory of each step, metrics of each run, where to look."""

from pathlib import Path

from stages.core.artifacts.metrics import read_metrics
from stages.core.workflow import step
from stages.core.workflow.benchmarks import StepCost, read_benchmarks

METRICS = ("*/*/metrics.json", "*/*/*/metrics.json")  # of runs, and of their parts
PACKED = "model"  # folder of a packed model, whose metrics are copies
HEADLINE = ("voc", "mAP50")  # preset and metric of the closing lines; metrics.json has all


def summarise(*, results: Path) -> None:
    """Print the summary of `results/{dataset}`, from Snakemake's benchmark files and the runs' metrics."""
    print("\n".join([*time_lines(results / "benchmarks"), "", *metric_lines(results), "", *gallery_lines(results)]))


def time_lines(benchmarks: Path) -> list[str]:
    """A table of wall time and peak memory of each step's last run, slowest first, and their sum."""
    costs = sorted(read_benchmarks(benchmarks), key=lambda cost: -cost.seconds)
    total = step.clock(sum(cost.seconds for cost in costs))
    lines = [f"{step.clock(cost.seconds):>8}  {_memory(cost):>8}  {cost.step}" for cost in costs]
    return ["    time    memory  step", *lines, f"{total:>8}            all steps, one after the other"]


def metric_lines(results: Path) -> list[str]:
    """The headline metric of each run and split; the preset stands with the number."""
    preset, metric = HEADLINE
    lines = []
    found = [path for pattern in METRICS for path in results.glob(pattern)]
    for path in sorted(path for path in found if path.parent.name != PACKED):
        metrics = read_metrics(path, also=("supervision",))
        value = metrics["masks"].get(preset, {}).get(metric)
        shown = "not measured (no known masks)" if value is None else f"{value:.1f}"
        run, split = path.relative_to(results).parent.parent.as_posix(), path.parent.name
        lines.append(f"{run} on {split}, supervision {metrics['supervision']}: {metric} ({preset}) {shown}")
    return lines


def gallery_lines(results: Path) -> list[str]:
    """Where to look."""
    return [f"look at {path}" for path in sorted(results.glob("*/gallery/index.html"))]


def _memory(cost: StepCost) -> str:
    return "-" if cost.megabytes is None else f"{cost.megabytes:.0f} MB"


if __name__ == "__main__":
    step.run(summarise)
