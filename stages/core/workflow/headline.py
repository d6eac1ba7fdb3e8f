"""The one number that is said of a run: on the terminal when its metrics come, and when the graph is done."""

from typing import Any

from stages.core.artifacts.metrics import metric_columns

HEADLINE = "mAP50 (voc)"  # where nobody names another column


def headline(metrics: dict[str, Any], *, run: str, split: str, column: str = HEADLINE) -> str:
    """One line on a metrics.json: run, split, supervision and the metric that a column of the comparison names."""
    value = metric_columns(metrics).get(column)
    shown = "not measured" if value is None else f"{value:.1f}"
    return f"{run} on {split}, supervision {metrics['supervision']}: {column} {shown}"
