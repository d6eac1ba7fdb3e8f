"""The parts of metrics.json beside that of masks: boxes, CorLoc, and the instances as a semantic map."""

import dataclasses
from typing import Any

import numpy as np

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.semantic_maps import MAX_CLASSES
from stages.core.artifacts.storage import Artifact
from stages.core.workflow import step
from stages.evaluation.average_precision import average_precision, mean_of_known
from stages.evaluation.boxes import RULES, THRESHOLD, box_overlaps, correct_localisation
from stages.evaluation.confusion import overlaps as ious_of
from stages.evaluation.overlaps import Overlaps
from stages.evaluation.pairing import annotated_images, check_same_classes, check_same_images
from stages.evaluation.wording import percent

AP = "AP50"  # average precision of boxes at THRESHOLD
NO_CORLOC = "evaluation.corloc is false: the training split is not predicted for it"


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of metrics.json; shares in percent, None where there is nothing to measure.

    Attributes:
        overall: keys and values over all classes.
        per_class: keys and values of each class, in the order of the classes.
        unmeasured: why there is nothing to measure, by the name of the part; empty where there is.
    """

    overall: dict[str, Any]
    per_class: list[dict[str, Any]]
    unmeasured: dict[str, str]


def boxes_part(found: Artifact[Instances], boxes: Artifact[AnnotatedBoxes], class_count: int) -> Part:
    """Average precision of boxes by VOC's two forms at IoU 0.5. Raises ValueError as `box_overlaps`."""
    images = overlaps_of_boxes(found, boxes)
    results = {
        name: average_precision(images, class_count=class_count, thresholds=[THRESHOLD], rule=rule)
        for name, rule in RULES.items()
    }
    positives = next(iter(results.values())).positives
    counts = {
        "n_images": len(images),
        "n_images_left_out": len(boxes) - len(images),
        "n_objects": int(positives.sum()),
        "n_difficult": sum(int(o.difficult.sum()) for o in images),
        "n_crowds": sum(int(o.crowd.sum()) for o in images),
    }
    overall = {name: {AP: percent(result.mean[0])} for name, result in results.items()}
    per_class = [
        {
            "boxes": {
                **{name: {AP: percent(result.per_class[label, 0])} for name, result in results.items()},
                "n_objects": int(positives[label]),
            }
        }
        for label in range(class_count)
    ]
    reason = {} if images else {"boxes": f"no image of split {boxes.header['split']} has known boxes"}
    return Part({"boxes": overall | counts}, per_class, reason)


def corloc_part(
    found: Artifact[Instances] | None, boxes: Artifact[AnnotatedBoxes] | None, *, run: str, class_count: int
) -> Part:
    """CorLoc on the training split.

    Args:
        found: instances of the run there; None: they were not predicted.
        boxes: annotated boxes there.
        run: whose metrics these are.
        class_count: C.

    Raises:
        ValueError: instances of another run, or as `box_overlaps`.
    """
    if found is None or boxes is None:
        return Part({"corloc": None, "corloc_on": None}, [{"corloc": None}] * class_count, {"corloc": NO_CORLOC})
    if found.header["run"] != run:
        raise ValueError(f"{found.path} is of run {found.header['run']!r}, expected {run!r}; give instances of one run")
    check_same_classes(found, boxes)
    check_same_images(found, boxes)
    images = overlaps_of_boxes(found, boxes)
    result = correct_localisation(images, class_count=class_count)
    measured_on = {
        "split": boxes.header["split"],
        "n_images": len(images),
        "n_images_left_out": len(boxes) - len(images),
    }
    reason = {} if images else {"corloc": f"no image of split {boxes.header['split']} has known boxes"}
    return Part(
        {"corloc": percent(result.mean), "corloc_on": measured_on},
        [{"corloc": percent(share)} for share in result.per_class],
        reason,
    )


def overlaps_of_boxes(found: Artifact[Instances], boxes: Artifact[AnnotatedBoxes]) -> list[Overlaps]:
    """Overlaps of boxes of each image whose boxes are known, in the order of the annotations."""
    known = annotated_images(boxes)
    images = step.progress(known, total=len(known), label="images measured by boxes")
    return [box_overlaps(found.find(image), boxes.find(image)) for image in images]


def semantic_part(confusion: np.ndarray, *, score_threshold: float, class_count: int) -> Part:
    """Intersection over union of painted instances, from pixels by class: annotated and painted, background first.

    `confusion` is (C + 1, C + 1) int64, summed over all images; `confusion_matrix` counts one.
    """
    shares = ious_of(confusion)
    overall = {
        "mIoU": percent(float(mean_of_known(shares))),
        "IoU_background": percent(float(shares[0])),
        "score_threshold": score_threshold,
    }
    reason = {} if confusion.any() else {"semantic": unmeasured_semantics(class_count)}
    return Part({"semantic": overall}, [{"semantic": {"IoU": percent(float(share))}} for share in shares[1:]], reason)


def unmeasured_semantics(class_count: int) -> str:
    """Why no pixel was counted."""
    if class_count > MAX_CLASSES:
        return f"there are {class_count} classes; semantic maps hold at most {MAX_CLASSES}"
    return "no image of the split has known masks"
