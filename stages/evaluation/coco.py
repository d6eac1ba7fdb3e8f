"""COCO's own numbers by pycocotools' COCOeval, fed from artifacts; docs/metrics.md."""

import contextlib
import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances
from stages.evaluation.overlaps import counted_atoms
from stages.ops import rle

# The lowest IoU of a hit (None: the mean over all ten), and the sizes: up to 32 x 32 pixels, up to 96 x 96, above.
PRECISIONS = {
    "AP": (None, "all"), "AP50": (0.5, "all"), "AP75": (0.75, "all"),
    "APs": (None, "small"), "APm": (None, "medium"), "APl": (None, "large"),
}  # fmt: skip
# Most predictions of an image and class, and the sizes.
RECALLS = {
    "AR1": (1, "all"), "AR10": (10, "all"), "AR100": (100, "all"),
    "ARs": (100, "small"), "ARm": (100, "medium"), "ARl": (100, "large"),
}  # fmt: skip
OF_A_CLASS = ("AP", "AP50", "AP75", "AR100")


@dataclass(frozen=True)
class CocoSummary:
    """COCO's mask metrics as shares; nan where nothing is there to find.

    Attributes:
        overall: pycocotools' twelve numbers in its order: AP (mean over IoU .5:.05:.95), AP50, AP75, APs, APm, APl of
            small, medium and large instances; AR1, AR10, AR100, recall (mean over the same IoU) of the best 1, 10 and
            100 predictions of each image and class, ARs, ARm, ARl of 100 by size.
        per_class: AP, AP50, AP75 and AR100 of each class, in the order of the classes.
    """

    overall: dict[str, float]
    per_class: list[dict[str, float]]


class CocoEvaluation:
    """Collects images, then evaluates them with COCOeval (segm, 100 predictions per image and class).

    Differs from the official code: the area of an annotation is that of its mask, not of its polygon, which moves
    single instances between small, medium and large; the numbers over all sizes are COCO's.
    """

    def __init__(self, class_count: int) -> None:
        # pycocotools takes id 0 for "no match", so all ids start at 1; categories are class indices plus 1.
        self._categories = [{"id": label + 1, "name": str(label)} for label in range(class_count)]
        self._images: list[dict[str, Any]] = []
        self._ground_truths: list[dict[str, Any]] = []
        self._predictions: list[dict[str, Any]] = []

    def add(self, instances: Instances, ground_truth: GroundTruth, *, void: Literal["background", "ignore"]) -> None:
        """Add an image; with `void` = "ignore" its unlabelled pixels are taken out of all masks."""
        image = len(self._images) + 1
        height, width = ground_truth.atoms.shape
        self._images.append({"id": image, "height": height, "width": width})
        counted = counted_atoms(ground_truth, void)
        pixels = None if counted is None else counted[ground_truth.atoms]
        for regions, labels, found, extra in (
            (ground_truth.regions, ground_truth.classes, self._ground_truths, {"iscrowd": ground_truth.crowd}),
            (instances.regions, instances.classes, self._predictions, {"score": instances.scores}),
        ):
            for i, encoding in enumerate(rle.encode_regions(regions, counted=pixels)):
                entry: dict[str, Any] = {
                    "id": len(found) + 1,
                    "image_id": image,
                    "category_id": int(labels[i]) + 1,
                    "iscrowd": 0,
                }
                entry |= {"segmentation": encoding, "area": int(coco_mask.area(encoding))}
                found.append(entry | {key: values[i].item() for key, values in extra.items()})

    def summary(self) -> CocoSummary:
        """Evaluate all images that were added."""
        if not self._images:
            nothing = dict.fromkeys((*PRECISIONS, *RECALLS), float("nan"))
            return CocoSummary(nothing, [{name: nothing[name] for name in OF_A_CLASS}] * len(self._categories))
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            evaluation = COCOeval(self._api(self._ground_truths), self._api(self._predictions), "segm")
            evaluation.evaluate()
            evaluation.accumulate()
        return _summarise(evaluation, len(self._categories))

    def _api(self, annotations: list[dict[str, Any]]) -> COCO:
        """A COCO index; built directly, for `loadRes` fails where there is no prediction."""
        api = COCO()
        api.dataset = {"images": self._images, "categories": self._categories, "annotations": annotations}
        api.createIndex()
        return api


def _summarise(evaluation: COCOeval, class_count: int) -> CocoSummary:
    of_classes = _precisions(evaluation) | _recalls(evaluation)
    overall = {name: _mean(values) for name, values in of_classes.items()}
    per_class = [{name: _mean(of_classes[name][..., label]) for name in OF_A_CLASS} for label in range(class_count)]
    return CocoSummary(overall, per_class)


def _precisions(evaluation: COCOeval) -> dict[str, np.ndarray]:
    """Precision at each IoU and recall of each metric, (T, R, classes), of the best 100 predictions."""
    precision, params = evaluation.eval["precision"], evaluation.params  # (T, R, classes, areas, limits)
    thresholds, areas, limit = params.iouThrs, params.areaRngLbl, params.maxDets.index(100)
    levels = {iou: slice(None) if iou is None else _at(thresholds, iou) for iou, _ in PRECISIONS.values()}
    return {name: precision[levels[iou], ..., areas.index(area), limit] for name, (iou, area) in PRECISIONS.items()}


def _recalls(evaluation: COCOeval) -> dict[str, np.ndarray]:
    """The largest recall at each IoU of each metric, (T, classes)."""
    recall, params = evaluation.eval["recall"], evaluation.params  # (T, classes, areas, limits)
    areas, limits = params.areaRngLbl, params.maxDets
    return {name: recall[..., areas.index(area), limits.index(limit)] for name, (limit, area) in RECALLS.items()}


def _at(thresholds: np.ndarray, wanted: float) -> int:
    return int(np.flatnonzero(np.isclose(thresholds, wanted))[0])


def _mean(values: np.ndarray) -> float:
    """Mean of the entries that COCOeval filled; it marks those without an instance by -1."""
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")
