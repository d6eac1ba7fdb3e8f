"""Detection metrics on boxes: VOC's average precision and CorLoc; docs/metrics.md."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.instances import Instances
from stages.evaluation.average_precision import mean_of_known
from stages.evaluation.matching import Rule
from stages.evaluation.overlaps import Overlaps
from stages.ops.boxes import areas

# Everingham et al. 2010: VOC's development kit (VOCevaldet.m), 11-point AP up to VOC 2009, area from VOC 2010 on.
_VOC07 = Rule(interpolation="voc07", match="best", strict=False, absent="nan", limit=None, difficult="ignore")
RULES = {"voc07": _VOC07, "voc12": replace(_VOC07, interpolation="area")}
THRESHOLD = 0.5  # IoU of both metrics


def box_overlaps(instances: Instances, annotated: AnnotatedBoxes) -> Overlaps:
    """Overlaps of an image's predicted with its annotated boxes.

    VOC's IoU takes corners as numbers of whole pixels, both inside: sides are x1 - x0 + 1. That is the plain IoU of
    half-open boxes, whose last pixel is x1 - 1. Boxes are not rounded.

    Differs from the official code: nothing but for crowds, which VOC has not: their overlap is the share of the
    predicted box that lies in the crowd, as for masks.

    Args:
        instances: D predictions; their boxes are the predicted ones, or else the tight boxes of the masks.
        annotated: G boxes of the same image.

    Raises:
        ValueError: naming the image, where sizes differ, or scores or boxes are not finite.
    """
    size = (int(annotated.height), int(annotated.width))
    if instances.atoms.shape != size:
        raise ValueError(
            f"image {annotated.image!r}: predictions are of {instances.atoms.shape} (height, width) pixels, "
            f"annotated boxes of {size}; remake both from the same images.h5"
        )
    found = instances.found_boxes
    if not (np.isfinite(instances.scores).all() and np.isfinite(found).all()):
        raise ValueError(
            f"predictions of image {instances.image!r} hold scores or boxes that are not finite; remake them"
        )
    both, first, second = common_areas(found, annotated.boxes), areas(found)[:, None], areas(annotated.boxes)
    return Overlaps(
        scores=instances.scores,
        classes=instances.classes,
        overlap=_quotient(both, np.where(annotated.crowd, first, first + second - both)),
        ground_truth_classes=annotated.classes,
        crowd=annotated.crowd,
        difficult=annotated.difficult,
    )


def common_areas(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Area that half-open boxes (N, 4) and (M, 4) have in common, (N, M) float64."""
    first, second = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    return sides.clip(min=0).prod(-1)


def _quotient(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


@dataclass(frozen=True)
class CorLoc:
    """Correct localisation of C classes, as shares.

    Attributes:
        per_class: (C,) float64; nan for a class that no image holds.
        mean: over the classes that are not nan; nan where all are.
    """

    per_class: np.ndarray
    mean: float


def correct_localisation(images: Iterable[Overlaps], *, class_count: int) -> CorLoc:
    """CorLoc (Deselaers et al. 2012, section 6): how many images have one of their objects found.

    For each class, over the images that hold an object of it (difficult ones included, crowds not): the share whose
    best-scored box of the class, the first of equals, has an IoU above 0.5 with any object of the class. An image
    without a box of the class is a miss. Differs from VOC's average precision: an IoU of just 0.5 is no hit.
    """
    hits, counts = np.zeros(class_count), np.zeros(class_count)
    for image in images:
        for label in np.unique(image.ground_truth_classes[~image.crowd]):
            counts[label] += 1
            hits[label] += _is_localised(image, label)
    per_class = np.divide(hits, counts, out=np.full(class_count, np.nan), where=counts > 0)
    return CorLoc(per_class, float(mean_of_known(per_class)))


def _is_localised(image: Overlaps, label: int) -> bool:
    own = np.flatnonzero(image.classes == label)
    if not len(own):
        return False
    best = own[image.scores[own].argmax()]
    objects = (image.ground_truth_classes == label) & ~image.crowd
    return bool((image.overlap[best, objects] > THRESHOLD).any())
