"""Loss curves: what is kept while training, and the JSON and PNG made of it."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.core.artifacts.files import whole_file, write_json


@dataclasses.dataclass
class Curves:
    """Means of each loss term over intervals of updates.

    Attributes:
        points: one dict an interval: `step` (updates done), `rate`, `seconds`, `losses` (mean of each term, per pass).
        sums: sum and number of values of each term since the last point.
        seconds: training time of earlier processes, for a run that was resumed.
    """

    points: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    sums: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    started: float = dataclasses.field(default_factory=time.perf_counter)

    def add(self, losses: Mapping[str, float]) -> None:
        """Count the terms of one forward pass."""
        for name, value in losses.items():
            entry = self.sums.setdefault(name, [0.0, 0.0])
            entry[0] += value
            entry[1] += 1

    def close_point(self, step: int, rate: float) -> dict[str, Any]:
        """End the interval and return its point."""
        means = {name: total / count for name, (total, count) in self.sums.items()}
        self.points.append({"step": step, "rate": rate, "seconds": round(self.elapsed(), 3), "losses": means})
        self.sums = {}
        return self.points[-1]

    def elapsed(self) -> float:
        """Seconds of training so far, over all processes that worked on this run."""
        return self.seconds + time.perf_counter() - self.started

    def state(self) -> dict[str, Any]:
        """All of it as plain containers, for a checkpoint."""
        return {"points": self.points, "sums": self.sums, "seconds": self.elapsed()}

    @classmethod
    def resumed(cls, state: Mapping[str, Any]) -> "Curves":
        """Go on from `state()`."""
        return cls(points=state["points"], sums=state["sums"], seconds=state["seconds"])


def write_curves(path: Path, curves: Curves) -> None:
    """Write the points as JSON: a list of intervals."""
    write_json(path, {"intervals": curves.points})


def plot_curves(path: Path, curves: Curves, *, title: str) -> None:
    """Draw each loss term and the learning rate over the updates, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    terms = sorted({name for point in curves.points for name in point["losses"]})
    for term in terms:
        points = [(p["step"], p["losses"][term]) for p in curves.points if term in p["losses"]]
        upper.plot(*zip(*points, strict=True), label=term)
    if terms:
        upper.legend()
    upper.set(title=title, ylabel="loss (mean per pass)")
    lower.plot([p["step"] for p in curves.points], [p["rate"] for p in curves.points], color="black")
    lower.set(xlabel="updates", ylabel="learning rate")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=110)
