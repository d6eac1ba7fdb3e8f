"""Step `report_cluster_labels`: how right the pseudo labels of proposals (AGPL) are."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.files import write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import Artifact, read
from stages.core.workflow import step
from stages.evaluation.best_overlap import average_best_overlap, concatenated
from stages.evaluation.overlaps import counted_atoms, shared_pixels
from stages.evaluation.pairing import annotated_images, check_same_classes, check_same_images
from stages.evaluation.settings import ClusterLabelReportSettings
from stages.evaluation.wording import percent, shown, treatment

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelQuality:
    """How an image's labels meet its instances.

    Attributes:
        overlap: (L,) best IoU of each labelled proposal with an instance of its class, 0 where there is none.
        classes: (L,) class of each labelled proposal; clusters: (L,) its cluster.
        found: (G,) best IoU of each instance with a proposal labelled with its class, 0 where there is none.
        found_classes: (G,) class of each instance that counts.
        background: proposals labelled background; ignored: proposals without a label.
        left_out: labelled proposals in a crowd (or a difficult instance, by setting) of their class; not in L.
    """

    overlap: np.ndarray
    classes: np.ndarray
    clusters: np.ndarray
    found: np.ndarray
    found_classes: np.ndarray
    background: int
    ignored: int
    left_out: int

    def cluster_overlaps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Best and mean overlap of each cluster's proposals, and the cluster's class, (K,) all."""
        ids, first, member = np.unique(self.clusters, return_index=True, return_inverse=True)
        best = np.zeros(len(ids))
        np.maximum.at(best, member, self.overlap)
        mean = np.bincount(member, self.overlap, len(ids)) / np.maximum(np.bincount(member, minlength=len(ids)), 1)
        return best, mean, self.classes[first]


def report_cluster_labels(
    *, cluster_labels: Path, proposals: Path, ground_truth: Path, output: Path, settings: ClusterLabelReportSettings
) -> None:
    """Report how well the foreground labels of proposals agree with the annotated instances.

    Args:
        cluster_labels: cluster labels of a split.
        proposals: the proposals that they label.
        ground_truth: ground_truth.h5 of the same split; images whose masks are not known are left out and counted.
        output: JSON; shares in percent, null where there is nothing to measure.
        settings: the overlap that makes a label right, and treatment of void and difficult.

    Raises:
        ValueError: the artifacts differ in images, classes or number of proposals.
    """
    with (
        read(cluster_labels, ClusterLabels) as labels,
        read(proposals, Proposals) as regions,
        read(ground_truth, GroundTruth) as annotations,
    ):
        classes = check_same_classes(labels, annotations)
        check_same_images(labels, annotations)
        check_same_images(labels, regions)
        known = annotated_images(annotations)
        parts = [
            label_quality(labels.find(image), regions.find(image), annotations.find(image), settings)
            for image in step.progress(known, total=len(known), label="images measured")
        ]
        report = _header(labels, regions, annotations, settings, len(known)) | _numbers(parts, classes, settings)
    write_json(output, report)
    log.info(
        "AGPL labels against ground truth at IoU %g: precision %s, recall %s; clusters: best IoU %s, mean IoU %s",
        settings.overlap, shown(report["precision"]), shown(report["recall"]),
        shown(report["clusters"]["best_iou"]), shown(report["clusters"]["mean_iou"]),
    )  # fmt: skip


def label_quality(
    labels: ClusterLabels, proposals: Proposals, ground_truth: GroundTruth, settings: ClusterLabelReportSettings
) -> LabelQuality:
    """Compare an image's labelled proposals with its instances."""
    if len(labels.clusters) != len(proposals.scores):
        raise ValueError(
            f"image {labels.image!r}: {len(labels.clusters)} cluster labels for {len(proposals.scores)} proposals; "
            "they come from different proposals: remake the labels"
        )
    named = np.flatnonzero(labels.cluster_classes >= 0)
    chosen, all_regions = labels.cluster_classes[named], proposals.regions
    try:
        labelled = all_regions.select(named, compact=False)
        shared = shared_pixels(labelled, ground_truth.regions, counted=counted_atoms(ground_truth, settings.void))
    except ValueError as error:
        raise ValueError(f"image {labels.image!r}: proposals and ground truth do not fit: {error}") from error
    counts = ~ground_truth.crowd & ~(ground_truth.difficult & (settings.difficult == "ignore"))
    same_class = chosen[:, None] == ground_truth.classes
    iou = np.where(same_class, shared.iou, 0.0)
    outside = np.where(same_class, np.where(ground_truth.crowd, shared.share_of_first, shared.iou), 0.0)[:, ~counts]
    overlap = iou[:, counts].max(axis=1, initial=0.0)
    kept = (overlap >= settings.overlap) | (outside.max(axis=1, initial=0.0) < settings.overlap)
    return LabelQuality(
        overlap=overlap[kept],
        classes=chosen[kept],
        clusters=labels.clusters[named][kept],
        found=iou[:, counts].max(axis=0, initial=0.0),
        found_classes=ground_truth.classes[counts],
        background=int(((labels.cluster_classes < 0) & (labels.clusters > 0)).sum()),
        ignored=int((labels.clusters == 0).sum()),
        left_out=int((~kept).sum()),
    )


def _header(
    labels: Artifact[ClusterLabels],
    regions: Artifact[Proposals],
    ground_truth: Artifact[GroundTruth],
    settings: ClusterLabelReportSettings,
    measured: int,
) -> dict[str, Any]:
    inputs: dict[str, Artifact] = {"cluster_labels": labels, "proposals": regions, "ground_truth": ground_truth}
    return {
        "units": "percent",
        "n_images": measured,
        "n_images_left_out": len(ground_truth) - measured,
        "overlap": 100 * settings.overlap,
        "treatment": treatment(settings),
        "inputs": {name: artifact.fingerprint for name, artifact in inputs.items()},
    }


def _numbers(parts: list[LabelQuality], classes: list[str], settings: ClusterLabelReportSettings) -> dict[str, Any]:
    overlap, labels = concatenated(p.overlap for p in parts), concatenated((p.classes for p in parts), np.int64)
    found, ground_truths = (
        concatenated(p.found for p in parts),
        concatenated((p.found_classes for p in parts), np.int64),
    )
    clusters = [p.cluster_overlaps() for p in parts]
    best, mean = concatenated(c[0] for c in clusters), concatenated(c[1] for c in clusters)
    of_class = concatenated((c[2] for c in clusters), np.int64)
    right, recalled = (overlap >= settings.overlap).astype(float), (found >= settings.overlap).astype(float)
    return {
        "precision": percent(average_best_overlap(right)),
        "recall": percent(average_best_overlap(recalled)),
        "n_instances": len(found),
        "clusters": {
            "count": len(best),
            "best_iou": percent(average_best_overlap(best)),
            "mean_iou": percent(average_best_overlap(mean)),
        },
        "proposals": {
            "labelled": len(overlap),
            "background": sum(p.background for p in parts),
            "ignored": sum(p.ignored for p in parts),
            "labelled_in_crowds": sum(p.left_out for p in parts),
        },
        "per_class": {
            name: {
                "precision": percent(average_best_overlap(right[labels == i])),
                "recall": percent(average_best_overlap(recalled[ground_truths == i])),
                "best_iou": percent(average_best_overlap(best[of_class == i])),
                "mean_iou": percent(average_best_overlap(mean[of_class == i])),
                "n_instances": int((ground_truths == i).sum()),
                "n_clusters": int((of_class == i).sum()),
            }
            for i, name in enumerate(classes)
        },
    }


if __name__ == "__main__":
    step.run(report_cluster_labels)
