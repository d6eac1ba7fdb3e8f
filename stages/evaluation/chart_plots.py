"""Charts of a run as SVG pictures, from the numbers of charts.json."""

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.artifacts.files import whole_file
from stages.evaluation.curves import plain
from stages.ops.colours import KINDS, SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE = 0.19  # inches of height per bar of a class
NOTHING = "nothing to measure: no annotated instance"


def plot_charts(data: dict[str, Any], **paths: Path) -> None:
    """Draw each of `classes`, `errors`, `reliability`, `sizes`, `overlaps` that `paths` names."""
    draw: dict[str, Callable[[Figure, dict[str, Any]], None]] = {
        "classes": _classes,
        "errors": _errors,
        "reliability": _reliability,
        "sizes": _sizes,
        "overlaps": _overlaps,
    }
    for name, path in paths.items():
        plot(path, _of(data, draw[name]), title=_title(data))


def _of(data: dict[str, Any], draw: "Callable[[Figure, dict[str, Any]], None]") -> "Callable[[Figure], None]":
    return lambda figure: draw(figure, data)


def plot(path: Path, draw: "Callable[[Figure], None]", *, title: str) -> None:
    """Write a figure as SVG: text stays text, in the fonts of the reader; equal numbers give equal files."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Letters that matplotlib's own font lacks are measured wrong, but the reader's fonts have them.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tagmask"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        draw(figure)
        figure.suptitle(plain(title), fontsize=9)
        with whole_file(path) as unfinished:
            figure.savefig(unfinished, format="svg", metadata={"Date": None, "Title": title})


def _title(data: dict[str, Any]) -> str:
    return f"{data['run']} on {data['dataset']} {data['split']}, {data['n_images']} images"


def _classes(figure: "Figure", data: dict[str, Any]) -> None:
    per_class = data["per_class"]
    axes = _rows(figure, [f"{name} ({one['n_instances']})" for name, one in per_class.items()])
    values = [one["AP"] for one in per_class.values()]
    axes.barh(range(len(values)), [value or 0 for value in values], color=SERIES[0])
    for row, value in enumerate(values):
        axes.text((value or 0) + 1, row, "-" if value is None else f"{value:.1f}", va="center", fontsize=7)
    if data["mean"] is not None:
        axes.axvline(data["mean"], color=SERIES[1], linewidth=1, label=f"mean {data['mean']:.1f}")
        axes.legend(fontsize=8, loc="lower right")
    axes.set(xlim=(0, 108), xlabel=f"AP in percent, {_preset(data)}; instances in brackets")


def _errors(figure: "Figure", data: dict[str, Any]) -> None:
    errors = data["errors"]
    of_instances, predictions = errors["instances"], errors["predictions"]
    rows = {
        f"strongest prediction on each instance ({of_instances['total']})": of_instances["counts"],
        f"best predictions, as many as instances ({predictions['strongest']['total']})": predictions["strongest"][
            "counts"
        ],
        f"all predictions ({predictions['all']['total']})": predictions["all"]["counts"],
    }
    rows |= {f"{name}, instances ({sum(one.values())})": one for name, one in of_instances["per_class"].items()}
    axes = _rows(figure, list(rows))
    left = [0.0] * len(rows)
    for kind, colour in KINDS.items():
        shares = [100 * counts.get(kind, 0) / max(sum(counts.values()), 1) for counts in rows.values()]
        if any(kind in counts for counts in rows.values()):
            axes.barh(range(len(rows)), shares, left=left, color=colour, edgecolor="white", linewidth=0.5, label=kind)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    axes.set(xlim=(0, 100), xlabel=f"percent, at IoU {data['overlap']:g}; counts in brackets")
    figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)


def _reliability(figure: "Figure", data: dict[str, Any]) -> None:
    found = data["reliability"]
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    bins = found["bins"]
    middle = [(one["from"] + one["to"]) / 2 for one in bins]
    width = bins[0]["to"] - bins[0]["from"]
    known = [(x, one) for x, one in zip(middle, bins, strict=True) if one["right"] is not None]
    upper.bar(
        [x for x, _ in known], [one["right"] for _, one in known], width=0.92 * width, color=SERIES[0], label="right"
    )
    if found["scores_are_shares"]:
        upper.plot([0, 1], [0, 100], color="grey", linestyle="--", linewidth=1, label="as the score says")
        upper.plot(
            [one["mean_score"] for _, one in known],
            [one["right"] for _, one in known],
            "o",
            color=SERIES[1],
            label="mean score",
        )
    ece = "scores are no shares" if not found["scores_are_shares"] else f"ECE {_number(found['ECE'])}"
    upper.set(ylim=(0, 100), ylabel=f"percent right at IoU {data['overlap']:g}")
    upper.set_title(f"{found['n_predictions']} predictions; {ece}", fontsize=9)
    upper.legend(fontsize=8, loc="upper left")
    lower.bar(middle, [one["count"] for one in bins], width=0.92 * width, color=SERIES[6])
    lower.set(xlabel="score", ylabel="predictions")
    if any(one["count"] for one in bins):
        lower.set_yscale("log")
        lower.set_ylim(bottom=0.7)
        lower.yaxis.set_major_formatter("{x:g}")


def _sizes(figure: "Figure", data: dict[str, Any]) -> None:
    groups = data["sizes"]["groups"]
    axes = figure.subplots()
    values = [group["AP"] for group in groups]
    axes.bar(range(len(groups)), [value or 0 for value in values], color=SERIES[0], width=0.7)
    for x, value in enumerate(values):
        axes.text(x, (value or 0) + 1, _number(value), ha="center", fontsize=8)
    labels = [f"{group['from']:g} to {group['to']:g}\n({group['n_instances']})" for group in groups]
    axes.set_xticks(range(len(groups)), labels, fontsize=8)
    axes.set(ylim=(0, 108), ylabel=f"mAP in percent, {_preset(data)}", xlabel="area in pixels; instances in brackets")
    if not groups:
        _say(axes, NOTHING)


def _overlaps(figure: "Figure", data: dict[str, Any]) -> None:
    found = data["overlaps"]
    axes = figure.subplots()
    edges, counts = found["edges"], found["counts"]
    axes.bar(edges[:-1], counts, width=[b - a for a, b in itertools.pairwise(edges)], align="edge",
             color=SERIES[0], edgecolor="white", linewidth=0.5)  # fmt: skip
    axes.bar([-0.06], [found["none"]], width=0.04, color=SERIES[1], label="no prediction of its class touches it")
    axes.axvline(data["overlap"], color="grey", linestyle="--", linewidth=1, label=f"IoU {data['overlap']:g}")
    axes.set(xlabel="best IoU of an annotated instance with a prediction of its class", ylabel="instances")
    axes.legend(fontsize=8)
    if not sum(counts) + found["none"]:
        _say(axes, NOTHING)


def _rows(figure: "Figure", labels: list[str]) -> "Axes":
    """Axes with a named row each, the first on top; the figure grows with them."""
    figure.set_size_inches(8, 1.6 + LINE * max(len(labels), 8))
    axes = figure.subplots()
    axes.set_yticks(range(len(labels)), [plain(label) for label in labels], fontsize=7)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    return axes


def _say(axes: "Axes", text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def _preset(data: dict[str, Any]) -> str:
    return f"{data['preset']} at IoU {data['overlap']:g}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
