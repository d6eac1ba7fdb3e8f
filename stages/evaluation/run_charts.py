"""The charts of several runs on one split, side by side: curves, kinds of errors, classes, sizes and scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.evaluation.chart_data import OF_INSTANCES
from stages.evaluation.table import Table, cell, sheet
from stages.evaluation.wording import shown
from stages.ops.colours import DASHES, SERIES
from stages.ops.errors import KINDS

NEEDED = (
    "run",
    "split",
    "preset",
    "overlap",
    "per_class",
    "precision_recall",
    "errors",
    "reliability",
    "sizes",
    "inputs",
)
VISIBLE = 6  # runs whose charts are seen at first, the best
WIDTH, HEIGHT = 560, 320  # of the plot of curves, without its edges
EDGE = {"left": 56, "top": 10, "right": 18, "bottom": 44}


@dataclass(frozen=True)
class Series:
    """A run in the charts: its place by the headline, best first, and how it is drawn."""

    run: str
    place: int
    colour: str
    dash: str
    visible: bool
    data: dict[str, Any]


def charts_of(table: Table, metrics: dict[Path, dict[str, Any]], charts: dict[Path, dict[str, Any]]) -> list[Series]:
    """The charts of the runs of a table, best by the headline first; equal ones and unknown ones in their order.

    Args:
        table: the runs' metrics on a split.
        metrics: metrics.json of all runs and splits, by path.
        charts: charts.json of the same.

    Raises:
        ValueError: there are no charts of a run, or they are of other instances or of other settings than the rest.
    """
    split = table.about["split"]
    own = {found["run"]: (path, found) for path, found in charts.items() if found["split"] == split}
    inputs = {found["run"]: (path, found["inputs"]) for path, found in metrics.items() if found["split"] == split}
    for run, (path, read) in inputs.items():
        if run not in own:
            raise ValueError(
                f"{path} is of run {run!r} on {split!r}, of which there are no charts; give its charts.json"
            )
        if any(own[run][1]["inputs"][name] != read[name] for name in ("instances", "ground_truth")):
            raise ValueError(f"{own[run][0]} and {path} are of different instances or annotations; remake both")
    (first, reference), *others = own.values()
    for path, found in others:
        for key in ("preset", "overlap"):
            if found[key] != reference[key]:
                raise ValueError(f"{path} has {key} {found[key]!r}, but {first} has {reference[key]!r}; remake both")

    def rank(row: dict[str, Any]) -> float:
        value = row["values"][table.headline]
        return float("inf") if value is None else -value

    ranked = sorted(table.rows, key=rank)
    return [
        Series(
            run=row["run"],
            place=i,
            colour=SERIES[i % len(SERIES)],
            dash=DASHES[i // len(SERIES) % len(DASHES)],
            visible=i < VISIBLE,
            data=own[row["run"]][1],
        )
        for i, row in enumerate(ranked)
    ]


def check_charts(path: Path, found: Any) -> None:
    """Raise ValueError where a file is no charts.json."""
    missing = [key for key in NEEDED if not isinstance(found, dict) or key not in found]
    if missing:
        raise ValueError(f"{path} is no charts.json of chart_instances: it lacks {', '.join(missing)}")


def summary(series: list[Series]) -> dict[str, Any]:
    """The charts as JSON, by run: AP by class and size, kinds of errors, calibration, mean curve."""
    return {
        one.run: {
            "preset": one.data["preset"],
            "overlap": one.data["overlap"],
            "AP": {name: found["AP"] for name, found in one.data["per_class"].items()},
            "errors": {
                "instances": one.data["errors"]["instances"]["counts"],
                "predictions": one.data["errors"]["predictions"]["strongest"]["counts"],
            },
            "found": one.data["errors"]["instances"]["found"],
            "ECE": one.data["reliability"]["ECE"],
            "sizes": one.data["sizes"],
            "precision_recall": {"recall": one.data["precision_recall"]["recall"], "precision": mean_curve(one)},
        }
        for one in series
    }


def mean_curve(one: Series) -> list[float] | None:
    """Precision in percent at 101 recalls, mean over the classes; None where nothing was measured."""
    return one.data["precision_recall"]["mean"][f"{one.data['overlap']:g}"]


def polyline(one: Series) -> str:
    """The mean curve as the points of an SVG line; empty where there is none."""
    curve = mean_curve(one)
    if curve is None:
        return ""
    recalls = one.data["precision_recall"]["recall"]
    return " ".join(
        f"{EDGE['left'] + recall / 100 * WIDTH:.1f},{EDGE['top'] + (1 - value / 100) * HEIGHT:.1f}"
        for recall, value in zip(recalls, curve, strict=True)
    )


def bars_of(one: Series, which: str) -> list[tuple[str, int, float]]:
    """Kinds of errors of a run: kind, count, percent; of `instances`, or of as many `predictions`, the strongest."""
    tally = _tally(one, which)
    shares = tally["percent"] or dict.fromkeys(tally["counts"], 0.0)
    return [(kind, tally["counts"][kind], shares[kind]) for kind in (OF_INSTANCES if which == "instances" else KINDS)]


def markdown_charts(series: list[Series]) -> str:
    """Kinds of errors, sizes and classes as Markdown tables."""
    if not series:
        return ""
    first = series[0].data
    at = f"preset {first['preset']} at IoU {first['overlap']:g}"
    names = [cell(one.run) for one in series]
    of_instances = [[name, *_counted(one, "instances")] for name, one in zip(names, series, strict=True)]
    of_predictions = [[name, *_counted(one, "predictions")] for name, one in zip(names, series, strict=True)]
    sizes = [f"AP, {group['from']} to {group['to']} px" for group in first["sizes"]["groups"]]
    by_size = [
        [name, shown(one.data["reliability"]["ECE"]), *(shown(group["AP"]) for group in one.data["sizes"]["groups"])]
        for name, one in zip(names, series, strict=True)
    ]
    classes = [
        [cell(name), str(found["n_instances"]), *(shown(one.data["per_class"][name]["AP"]) for one in series)]
        for name, found in first["per_class"].items()
    ]
    blocks = [
        f"What the strongest prediction on each instance is, in percent of the instances, {at}.",
        sheet(["run", *OF_INSTANCES], of_instances, numbers=len(OF_INSTANCES)),
        "What the best predictions are, as many as there are instances, in percent.",
        sheet(["run", *KINDS], of_predictions, numbers=len(KINDS)),
        "Expected calibration error of the scores, and AP over the size of instances, in groups of equally many.",
        sheet(["run", "ECE", *sizes], by_size, numbers=1 + len(sizes)),
        f"AP of each class, {at}.",
        sheet(["class", "instances", *names], classes, numbers=1 + len(names)),
    ]
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def _tally(one: Series, which: str) -> dict[str, Any]:
    errors = one.data["errors"]
    return errors["instances"] if which == "instances" else errors["predictions"]["strongest"]


def _counted(one: Series, which: str) -> list[str]:
    known = _tally(one, which)["percent"] is not None
    return [f"{share:.1f}" if known else "-" for _, _, share in bars_of(one, which)]
