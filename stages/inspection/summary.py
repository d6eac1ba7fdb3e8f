"""What a finished workflow took and gave: time and memory of each step, metrics of each run, where to look."""

import csv
from pathlib import Path

from stages.core import step
from stages.core.artifacts.files import read_json

HEADLINE = ("voc", "mAP50")  # preset and metric of the closing lines; metrics.json has all


def summarise(*, results: Path) -> None:
    """Print the summary of `results/{dataset}`, from Snakemake's benchmark files and the runs' metrics."""
    print("\n".join([*time_lines(results / "benchmarks"), "", *metric_lines(results), "", *gallery_lines(results)]))


def time_lines(benchmarks: Path) -> list[str]:
    """A table of wall time and peak memory of each step's last run, slowest first, and their sum."""
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        with path.open(newline="", encoding="utf-8") as file:
            entries = list(csv.DictReader(file, delimiter="\t"))
        if entries:
            name = str(path.relative_to(benchmarks).with_suffix(""))
            rows.append((float(entries[-1]["s"]), _megabytes(entries[-1]["max_rss"]), name))
    total = step.clock(sum(row[0] for row in rows))
    lines = [f"{step.clock(seconds):>8}  {memory:>8}  {name}" for seconds, memory, name in sorted(rows, reverse=True)]
    return ["    time    memory  step", *lines, f"{total:>8}            all steps, one after the other"]


def metric_lines(results: Path) -> list[str]:
    """The headline metric of each run and split; the preset stands with the number."""
    preset, metric = HEADLINE
    lines = []
    for path in sorted(results.glob("*/*/metrics.json")):
        metrics = read_json(path)
        value = metrics["masks"][preset][metric]
        shown = "not measured (no known masks)" if value is None else f"{value:.1f}"
        run, split = path.parts[-3:-1]
        lines.append(f"{run} on {split}, supervision {metrics['supervision']}: {metric} ({preset}) {shown}")
    return lines


def gallery_lines(results: Path) -> list[str]:
    """Where to look."""
    return [f"look at {path}" for path in sorted(results.glob("*/gallery/index.html"))]


def _megabytes(text: str) -> str:
    """Snakemake writes NA for jobs that were too short to measure."""
    return f"{float(text):.0f} MB" if text not in ("NA", "-") else "-"


if __name__ == "__main__":
    step.run(summarise)
