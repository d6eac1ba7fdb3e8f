"""Step `report_proposals`: how well a source's proposals cover the annotated instances, whatever their class."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.artifacts.files import write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import Artifact, read
from stages.core.workflow import step
from stages.evaluation.average_precision import mean_of_known
from stages.evaluation.best_overlap import average_best_overlap, class_average_best_overlap, concatenated, recall
from stages.evaluation.chart_plots import plot
from stages.evaluation.overlaps import counted_atoms, shared_pixels
from stages.evaluation.pairing import annotated_images, check_same_images
from stages.evaluation.settings import ProposalReportSettings
from stages.evaluation.wording import percent, shown, treatment
from stages.ops.colours import SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


def report_proposals(
    *, proposals: Path, ground_truth: Path, output: Path, output_plot: Path, settings: ProposalReportSettings
) -> None:
    """Report count, average best overlap and recall of proposals, and recall over their number.

    An instance's best overlap is its largest IoU with any proposal (J_i of Pont-Tuset and Van Gool 2015); recall at t
    is the share of instances with a best overlap >= t (docs/metrics.md; MCG's own code asks for > t). Crowds are
    left out. Over the number n only the best n proposals of each image count.

    Args:
        proposals: proposals of a split.
        ground_truth: ground_truth.h5 of the same split; images whose masks are not known are left out and counted.
        output: JSON; shares in percent, null where there is no instance.
        output_plot: SVG; recall over the number of proposals.
        settings: thresholds and treatment of void and difficult.

    Raises:
        ValueError: the artifacts hold different images, or masks of different size.
    """
    with read(proposals, Proposals) as found, read(ground_truth, GroundTruth) as annotations:
        check_same_images(found, annotations)
        known = annotated_images(annotations)
        parts = [
            _best_of_image(found.find(image), annotations.find(image), settings)
            for image in step.progress(known, total=len(known), label="images measured")
        ]
        counts = np.array([len(found.field(i, "scores")) for i in range(len(found))], np.int64)
        report = _header(found, annotations, settings, len(known), counts)
        classes = annotations.header["classes"]
    labels = concatenated((label for _, label in parts), np.int64)
    best_of = np.concatenate([np.zeros((len(settings.numbers) + 1, 0)), *(best for best, _ in parts)], axis=1)
    report |= _numbers(best_of[-1], labels, classes, settings)
    report["recall_over_number"] = _over_number(best_of, int(counts.max(initial=0)), settings)
    write_json(output, report)
    plot(output_plot, lambda figure: _draw(figure, report["recall_over_number"]), title=_title(report))
    log.info(
        "%s: %.0f proposals per image; ABO (class-agnostic) %s; recall %s; AR %s",
        report["source"], report["proposals"]["mean"] or 0, shown(report["ABO"]),
        ", ".join(f"at IoU {t}: {shown(value)}" for t, value in report["recall"].items()), shown(report["AR"]),
    )  # fmt: skip


def _best_of_image(
    found: Proposals, ground_truth: GroundTruth, settings: ProposalReportSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Best overlaps of the G instances of an image that count, and their classes.

    Overlaps (n + 1, G): with the best proposals, as many as each of `settings.numbers` says, and with all.
    """
    try:
        shared = shared_pixels(found.regions, ground_truth.regions, counted=counted_atoms(ground_truth, settings.void))
    except ValueError as error:
        raise ValueError(f"image {ground_truth.image!r}: proposals and ground truth do not fit: {error}") from error
    counts = ~ground_truth.crowd & ~(ground_truth.difficult & (settings.difficult == "ignore"))
    overlap = shared.iou[np.argsort(-found.scores, kind="stable")][:, counts]
    so_far = np.maximum.accumulate(np.concatenate([np.zeros((1, overlap.shape[1])), overlap]))
    return so_far[np.minimum([*settings.numbers, len(overlap)], len(overlap))], ground_truth.classes[counts]


def _header(
    found: Artifact[Proposals],
    ground_truth: Artifact[GroundTruth],
    settings: ProposalReportSettings,
    measured: int,
    counts: np.ndarray,
) -> dict[str, Any]:
    return {
        "source": found.header["source"],
        "supervision": found.header["supervision"],
        "units": "percent",
        "n_images": measured,
        "n_images_left_out": len(ground_truth) - measured,
        "proposals": {
            "total": int(counts.sum()),
            "mean": float(counts.mean()) if counts.size else None,
            "min": int(counts.min()) if counts.size else None,
            "max": int(counts.max()) if counts.size else None,
            "images_without": int((counts == 0).sum()),
        },
        "treatment": treatment(settings),
        "inputs": {"proposals": found.fingerprint, "ground_truth": ground_truth.fingerprint},
    }


def _numbers(
    best: np.ndarray, labels: np.ndarray, classes: list[str], settings: ProposalReportSettings
) -> dict[str, Any]:
    by_class = class_average_best_overlap(best, labels, len(classes))
    at = recall(best, settings.recall_thresholds)
    averaged = recall(best, settings.average_recall_thresholds)
    return {
        "n_instances": len(best),
        "ABO": percent(average_best_overlap(best)),
        "MABO": percent(float(mean_of_known(by_class))),
        "recall": {f"{t:g}": percent(value) for t, value in zip(settings.recall_thresholds, at, strict=True)},
        "AR": percent(float(averaged.mean())),
        "AR_thresholds": settings.average_recall_thresholds,
        "per_class": {
            name: {"n_instances": int((labels == i).sum()), "ABO": percent(by_class[i])}
            for i, name in enumerate(classes)
        },
    }


def _over_number(best_of: np.ndarray, largest: int, settings: ProposalReportSettings) -> dict[str, Any]:
    """Recall and average recall of the best n proposals of each image, for each n below the largest number, and all."""
    numbers = [number for number in settings.numbers if number < largest]
    kept = [*best_of[: len(numbers)], best_of[-1]] if largest else []
    return {
        "numbers": [*numbers, largest] if largest else [],
        "recall": {
            f"{t:g}": [percent(float(recall(best, [t])[0])) for best in kept] for t in settings.recall_thresholds
        },
        "AR": [percent(float(recall(best, settings.average_recall_thresholds).mean())) for best in kept],
    }


def _title(report: dict[str, Any]) -> str:
    return f"proposals {report['source']}, {report['n_images']} images, {report['n_instances']} instances"


def _draw(figure: "Figure", found: dict[str, Any]) -> None:
    axes = figure.subplots()
    lines = {f"recall at IoU {t}": values for t, values in found["recall"].items()} | {"AR": found["AR"]}
    for i, (label, values) in enumerate(lines.items()):
        known = [(n, value) for n, value in zip(found["numbers"], values, strict=True) if value is not None]
        style = "ko--" if label == "AR" else "o-"
        colour: dict[str, Any] = {} if label == "AR" else {"color": SERIES[i % len(SERIES)]}
        axes.plot([n for n, _ in known], [value for _, value in known], style, markersize=4, label=label, **colour)
    axes.set_xscale("log")
    axes.set_xticks(found["numbers"], [str(number) for number in found["numbers"]], fontsize=8)
    axes.minorticks_off()
    axes.set(ylim=(0, 100), xlabel="best proposals of each image", ylabel="percent of instances")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")


if __name__ == "__main__":
    step.run(report_proposals)
