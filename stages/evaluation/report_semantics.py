"""Step `report_semantics`: how right semantic maps are."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.files import write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.semantic_maps import UNCERTAIN, SemanticMaps
from stages.core.artifacts.storage import Artifact, read
from stages.core.workflow import step
from stages.evaluation.average_precision import mean_of_known
from stages.evaluation.confusion import confusion_matrix, overlaps
from stages.evaluation.pairing import annotated_images, check_same_classes, check_same_images
from stages.evaluation.wording import percent, shown

log = logging.getLogger(__name__)
BACKGROUND = "background"


def report_semantics(*, maps: Path, ground_truth: Path, output: Path) -> None:
    """Report intersection over union and accuracy of semantic maps, over all pixels of the split.

    IoU of a class is TP / (TP + FP + FN), from one confusion matrix of the split (VOC's development kit); background is
    a class, void pixels do not count, a class that neither ground truth nor maps hold has no IoU and is left out of the
    mean (chainercv). Pixels that the maps leave uncertain count as background in `mIoU` (as in IRNet's evaluation) and
    are left out in `mIoU_decided`.

    Args:
        maps: semantic maps of a split.
        ground_truth: ground_truth.h5 of the same split; images whose masks are not known are left out and counted.
        output: JSON; shares in percent, null where there is nothing to measure.

    Raises:
        ValueError: other images or classes, a map of another size, or a label that is no class.
    """
    with read(maps, SemanticMaps) as found, read(ground_truth, GroundTruth) as annotations:
        classes = check_same_classes(found, annotations)
        check_same_images(found, annotations)
        known = annotated_images(annotations)
        confusion = np.zeros((len(classes) + 1, len(classes) + 2), np.int64)
        for image in step.progress(known, total=len(known), label="images measured"):
            confusion += _confusion_of(found, annotations.find(image), len(classes))
        report = _about(found, annotations, len(known)) | numbers(confusion, [BACKGROUND, *classes])
    write_json(output, report)
    log.info(
        "%s: mIoU %s (%s where decided), %s %% of the pixels are uncertain", report["source"], shown(report["mIoU"]),
        shown(report["mIoU_decided"]), shown(report["uncertain"]),
    )  # fmt: skip


def _confusion_of(maps: Artifact[SemanticMaps], ground_truth: GroundTruth, class_count: int) -> np.ndarray:
    labels, annotated = maps.find(ground_truth.image).labels, ground_truth.semantic_map
    if labels.shape != annotated.shape:
        raise ValueError(
            f"{maps.path}: the map of {ground_truth.image!r} is {labels.shape} (height, width), its annotation is "
            f"{annotated.shape}; remake both from the same images.h5"
        )
    if ((labels > class_count) & (labels != UNCERTAIN)).any():
        raise ValueError(f"{maps.path}: the map of {ground_truth.image!r} has labels above {class_count}; remake it")
    return confusion_matrix(annotated, labels, class_count)


def numbers(confusion: np.ndarray, names: list[str]) -> dict[str, Any]:
    """The report's numbers, percent, from `confusion_matrix`; names with background first."""
    decided = confusion[:, :-1]
    as_background = decided.copy()
    as_background[:, 0] += confusion[:, -1]
    by_class, by_class_decided = overlaps(as_background), overlaps(decided)
    right, found, annotated = np.diag(decided), decided.sum(0), confusion.sum(1)
    return {
        "n_pixels": int(confusion.sum()),
        "uncertain": percent(_share(confusion[:, -1].sum(), confusion.sum())),
        "mIoU": percent(float(mean_of_known(by_class))),
        "mIoU_decided": percent(float(mean_of_known(by_class_decided))),
        "pixel_accuracy": percent(_share(np.trace(as_background), confusion.sum())),
        "pixel_accuracy_decided": percent(_share(np.trace(decided), decided.sum())),
        "per_class": {
            name: {
                "IoU": percent(by_class[i]),
                "IoU_decided": percent(by_class_decided[i]),
                "precision": percent(_share(right[i], found[i])),
                "recall": percent(_share(right[i], annotated[i])),
                "uncertain": percent(_share(confusion[i, -1], annotated[i])),
            }
            for i, name in enumerate(names)
        },
    }


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")


def _about(maps: Artifact[SemanticMaps], ground_truth: Artifact[GroundTruth], measured: int) -> dict[str, Any]:
    return {
        "source": maps.header["source"],
        "supervision": maps.header["supervision"],
        "units": "percent",
        "n_images": measured,
        "n_images_left_out": len(ground_truth) - measured,
        "treatment": {
            "void": "ignore: unlabelled pixels, and crowds that no instance covers, do not count",
            "uncertain": "background in mIoU, pixel_accuracy and IoU; left out of those named decided",
        },
        "inputs": {"maps": maps.fingerprint, "ground_truth": ground_truth.fingerprint},
    }


if __name__ == "__main__":
    step.run(report_semantics)
