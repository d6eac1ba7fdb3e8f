"""COCO's own numbers by pycocotools' COCOeval, fed from artifacts; docs/metrics.md."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances
from stages.evaluation.overlaps import counted_atoms
from stages.ops import rle
from stages.ops.regions import Regions

AREAS = {"APs": "small", "APm": "medium", "APl": "large"}  # up to 32 x 32, up to 96 x 96, above


@dataclass(frozen=True)
class CocoSummary:
    """COCO's mask metrics as shares; nan where nothing is there to find.

    Attributes:
        overall: AP (mean over IoU .5:.05:.95), AP50, AP75, and AP of small, medium and large instances.
        per_class: AP, AP50 and AP75 of each class, in the order of the classes.
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

    def add(self, instances: Instances, ground_truth: GroundTruth, *, void: str) -> None:
        """Add an image; with `void` = "ignore" its unlabelled pixels are taken out of all masks."""
        image = len(self._images) + 1
        height, width = ground_truth.atoms.shape
        self._images.append({"id": image, "height": height, "width": width})
        counted = counted_atoms(ground_truth, void)
        pixels = None if counted is None else counted[ground_truth.atoms]
        for masks, labels, found, extra in (
            (ground_truth.regions, ground_truth.classes, self._ground_truths, {"iscrowd": ground_truth.crowd}),
            (instances.regions, instances.classes, self._predictions, {"score": instances.scores}),
        ):
            for i, mask in enumerate(_drawn(masks, pixels)):
                entry = {"id": len(found) + 1, "image_id": image, "category_id": int(labels[i]) + 1, "iscrowd": 0}
                entry |= {"segmentation": rle.encode(mask[None])[0], "area": int(mask.sum())}
                found.append(entry | {key: values[i].item() for key, values in extra.items()})

    def summary(self) -> CocoSummary:
        """Evaluate all images that were added."""
        if not self._images:
            nothing = dict.fromkeys(("AP", "AP50", "AP75"), float("nan"))
            return CocoSummary(nothing | dict.fromkeys(AREAS, float("nan")), [nothing] * len(self._categories))
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


def _drawn(regions: Regions, pixels: np.ndarray | None) -> Iterator[np.ndarray]:
    """Each mask (H, W), without the pixels that do not count; one in memory at a time.

    Drawn column by column, the order in which run lengths are counted: encoding need not copy them.
    """
    columns = np.ascontiguousarray(regions.atoms.T, np.intp)
    drawn = (np.take(member, columns) for member in regions.membership)
    if pixels is not None:
        counted = np.ascontiguousarray(pixels.T)
        drawn = (mask & counted for mask in drawn)
    return (mask.T for mask in drawn)


def _summarise(evaluation: COCOeval, class_count: int) -> CocoSummary:
    precision = evaluation.eval["precision"][..., -1]  # (T, R, classes, areas), with 100 predictions per image
    thresholds, areas = evaluation.params.iouThrs, evaluation.params.areaRngLbl
    levels = {"AP": slice(None), "AP50": _at(thresholds, 0.5), "AP75": _at(thresholds, 0.75)}
    everything = areas.index("all")
    overall = {name: _mean(precision[level, :, :, everything]) for name, level in levels.items()}
    overall |= {name: _mean(precision[..., areas.index(area)]) for name, area in AREAS.items()}
    per_class = [
        {name: _mean(precision[level, :, label, everything]) for name, level in levels.items()}
        for label in range(class_count)
    ]
    return CocoSummary(overall, per_class)


def _at(thresholds: np.ndarray, wanted: float) -> int:
    return int(np.flatnonzero(np.isclose(thresholds, wanted))[0])


def _mean(precision: np.ndarray) -> float:
    """Mean of the entries that COCOeval filled; it marks those without an instance by -1."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else float("nan")
