"""Precision-recall curves as a PNG; every curve names its preset and IoU."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.core.artifacts.files import whole_file
from stages.evaluation.average_precision import AveragePrecision, Curve
from stages.evaluation.settings import MaskMetricsSettings
from stages.ops.precision import RECALLS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID = RECALLS["coco101"]
LEGEND_ROWS = 20  # of a column


def plot_precision_recall(
    path: Path, *, results: dict[str, AveragePrecision], classes: list[str], settings: MaskMetricsSettings, title: str
) -> None:
    """Draw the mean curve at every threshold and the curve of every class at one, both of one preset."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    chosen, name = results[settings.curve_preset], settings.curve_preset
    at = settings.thresholds.index(settings.curve_threshold)
    columns = -(-len(classes) // LEGEND_ROWS)
    figure = Figure(figsize=(11 + 2.2 * columns, 5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for t, threshold in enumerate(settings.thresholds):
        curves = [envelope_on_grid(curve, t) for curve in chosen.curves if curve is not None]
        colour = colormaps["viridis"](0.9 * t / max(len(settings.thresholds) - 1, 1))
        mean = np.mean(curves, axis=0) if curves else np.full(len(GRID), np.nan)
        left.plot(GRID, mean, color=colour, label=f"{_named(name, threshold)}: mAP {_shown(chosen.mean[t])}")
    palette = colormaps["tab20"] if len(classes) <= 20 else colormaps["turbo"].resampled(len(classes))
    for label, curve in enumerate(chosen.curves):
        if curve is None:
            continue
        text = f"{classes[label]}, {_named(name, settings.curve_threshold)}: AP {_shown(chosen.per_class[label, at])}"
        right.plot(GRID, envelope_on_grid(curve, at), color=palette(label), label=plain(text), linewidth=1)
    _finish(left, "mean over classes")
    _finish(right, f"each class, {_named(name, settings.curve_threshold)}")
    left.set_ylabel("precision (best at this recall or above)")
    left.legend(loc="upper right", fontsize=8)
    if right.get_legend_handles_labels()[0]:
        right.legend(loc="upper left", bbox_to_anchor=(1, 1), ncols=columns, fontsize=7, frameon=False)
    figure.suptitle(plain(title), fontsize=10)
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=110)


def envelope_on_grid(curve: Curve, level: int) -> np.ndarray:
    """Best precision at each of 101 recalls or above, (101,); 0 beyond the last recall."""
    envelope = np.maximum.accumulate(curve.precision[::-1, level])[::-1]
    return np.append(envelope, 0.0)[np.searchsorted(curve.recall[:, level], GRID, side="left")]


def _named(preset: str, threshold: float) -> str:
    return f"{preset} at IoU {threshold:.2f}"


def _shown(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f}"


def plain(text: str) -> str:
    """Text of one line in which matplotlib finds no formula and no hidden label."""
    return " ".join(text.split()).replace("$", r"\$").lstrip("_")


def _finish(axes: "Axes", title: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall")
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
