"""Plots of counts of masks."""

from pathlib import Path
from typing import Any

from stages.core.artifacts.files import whole_file


def plot_counts(path: Path, report: dict[str, Any]) -> None:
    """Draw true and false positives over the updates, a line per overlap, and how many instances there are.

    Labels from before the training are marks at update 0; a thin line shows how many of them are right.
    """
    from matplotlib.figure import Figure

    entries = report["labels"]
    updates = [entry["update"] for entry in entries]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, threshold in enumerate(entries[0]["thresholds"]):
        found = [entry["thresholds"][threshold] for entry in entries]
        lines = {"true_positives": ("o-", "right"), "false_positives": ("x--", "wrong")}
        for kind, (style, word) in lines.items():
            values = [counts[kind] for counts in found]
            before = sum(update == 0 for update in updates)
            label = f"{word} at IoU {threshold}"
            axes.plot(updates[before:], values[before:], style, color=f"C{i}", label=label)
            axes.plot(updates[:before], values[:before], style[0], color=f"C{i}")
        axes.axhline(found[0]["true_positives"], color=f"C{i}", linewidth=0.7, linestyle="-.")
        if i == 0:
            total = found[0]["true_positives"] + found[0]["misses"]
            axes.axhline(total, color="grey", linestyle=":", label="annotated instances")
    words = ", then ".join(dict.fromkeys(entry["labels"] for entry in entries))
    title = f"{report['run'].lstrip('_')}: {words}"
    axes.set_title(title.replace("$", r"\$"), fontsize=10)
    axes.set(xlabel="updates", ylabel=f"instances in {report['n_images']} images")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=110)
