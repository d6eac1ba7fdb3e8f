"""The one number that is said of a run: on the terminal when its metrics come, and when the graph is done."""

from typing import Any

HEADLINE = ("voc", "mAP50")  # preset and metric; metrics.json has all


def headline(metrics: dict[str, Any], *, run: str, split: str) -> str:
    """One line on a metrics.json: run, split, supervision and the headline metric, with its preset."""
    preset, metric = HEADLINE
    value = metrics["masks"][preset][metric]
    shown = "not measured (no known masks)" if value is None else f"{value:.1f}"
    return f"{run} on {split}, supervision {metrics['supervision']}: {metric} ({preset}) {shown}"
