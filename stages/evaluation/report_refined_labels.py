"""Step `report_refined_labels`: how right the labels are that BESTIE refines itself by, over training (figure 6)."""

import logging
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from stages.core.artifacts.files import whole_file, write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.storage import read
from stages.core.workflow import step
from stages.evaluation.mask_counts import count_masks, shares_of
from stages.evaluation.pairing import check_same_classes, check_same_pictures
from stages.evaluation.settings import PseudoMaskReportSettings
from stages.evaluation.wording import treatment

log = logging.getLogger(__name__)


def report_refined_labels(
    *,
    refined_labels: Path,
    pseudo_instances: Path,
    ground_truth: Path,
    output: Path,
    output_plot: Path,
    settings: PseudoMaskReportSettings,
) -> None:
    """Count, after each update, labels that meet an annotated instance, that meet none, and instances that none meets.

    `count_masks` says how. The accepted pseudo instances, that training starts from, stand for update 0. The labels
    are made from tags of the split, whatever it is for: nothing else of a run may be judged by them.

    Args:
        refined_labels: of a split.
        pseudo_instances: of the same split and run.
        ground_truth: ground_truth.h5 of the same split; pictures whose masks are not known are left out and counted.
        output: JSON; counts, and shares in percent, null where there is nothing to measure, by update.
        output_plot: PNG; true and false positives over the updates.
        settings: the overlaps that make a label right, and treatment of void and difficult.

    Raises:
        ValueError: other classes, pictures or runs.
    """
    with (
        read(refined_labels, RefinedLabels) as refined,
        read(pseudo_instances, PseudoInstances) as pseudo,
        read(ground_truth, GroundTruth) as truth,
    ):
        classes = check_same_classes(refined, truth)
        for other in (truth, pseudo):
            check_same_pictures(refined, other)
        if pseudo.header["run"] != refined.header["run"]:
            raise ValueError(
                f"{pseudo.path} is of run {pseudo.header['run']!r}, {refined.path} of {refined.header['run']!r}; give "
                "both of one run"
            )
        sources = {0: lambda picture: pseudo.find(picture).as_instances}
        sources |= {n: lambda picture, n=n: refined.find(picture).after(n) for n in refined.header["updates"]}
        updates, known = [], []
        for update, masks_of in sources.items():
            counts, known = count_masks(masks_of, truth, settings, class_count=len(classes))
            labels = "refined labels" if update else "accepted pseudo instances"
            updates.append({"update": update, "labels": labels, **shares_of(counts, classes, settings)})
        report = {
            "run": refined.header["run"],
            "supervision": refined.header["supervision"],
            "units": "percent",
            "n_images": len(known),
            "n_images_left_out": len(truth) - len(known),
            "updates": updates,
            "treatment": treatment(settings),
            "inputs": {
                "refined_labels": refined.fingerprint,
                "pseudo_instances": pseudo.fingerprint,
                "ground_truth": truth.fingerprint,
            },
        }
    plot_counts(output_plot, report)
    write_json(output, report)
    for entry in updates:
        for threshold, found in entry["thresholds"].items():
            log.info(
                "after %d updates, %s at IoU %s: %d right, %d wrong, %d instances missed",
                entry["update"], entry["labels"], threshold, found["true_positives"], found["false_positives"],
                found["misses"],
            )  # fmt: skip


def plot_counts(path: Path, report: dict[str, Any]) -> None:
    """Draw true and false positives over the updates, a line for each overlap, and how many instances there are.

    The pseudo instances are marks at update 0; a thin line shows how many of them are right.
    """
    entries = report["updates"]
    updates = [entry["update"] for entry in entries]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, threshold in enumerate(entries[0]["thresholds"]):
        found = [entry["thresholds"][threshold] for entry in entries]
        lines = {"true_positives": ("o-", "right"), "false_positives": ("x--", "wrong")}
        for kind, (style, word) in lines.items():
            start, *values = [counts[kind] for counts in found]
            axes.plot(updates[1:], values, style, color=f"C{i}", label=f"{word} at IoU {threshold}")
            axes.plot(updates[:1], [start], style[0], color=f"C{i}")
        axes.axhline(found[0]["true_positives"], color=f"C{i}", linewidth=0.7, linestyle="-.")
        if i == 0:
            total = found[0]["true_positives"] + found[0]["misses"]
            axes.axhline(total, color="grey", linestyle=":", label="annotated instances")
    title = f"{report['run'].lstrip('_')}: refined labels over training; update 0: the accepted components"
    axes.set_title(title.replace("$", r"\$"), fontsize=10)
    axes.set(xlabel="updates", ylabel=f"instances in {report['n_images']} pictures")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=110)


if __name__ == "__main__":
    step.run(report_refined_labels)
