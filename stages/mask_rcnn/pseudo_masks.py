"""Which predictions of an image become its pseudo masks: arrays in, arrays out."""

import numpy as np

from stages.mask_rcnn.settings import PseudoMaskSettings
from stages.ops.nms import greedy
from stages.ops.regions import Regions


def choose_pseudo_masks(
    regions: Regions, classes: np.ndarray, scores: np.ndarray, *, tags: np.ndarray, settings: PseudoMaskSettings
) -> np.ndarray:
    """Indices (K,) int64 of the predictions that become pseudo masks, best first; equal scores keep their order.

    The preset of the official CIM: tagged classes alone, as suppressed in prediction, scores from 0.3 on, no keep-best.

    Args:
        regions: N predicted masks; empty ones are never chosen.
        classes: (N,) int.
        scores: (N,) float.
        tags: (C,) bool of the image.
        settings: the rules.
    """
    allowed = regions.areas() > 0
    if settings.tagged_only:
        allowed &= tags[classes]
    kept = allowed & (scores >= settings.score_threshold)
    if settings.overlap_threshold is not None:
        rivals = regions.iou() >= settings.overlap_threshold
        if settings.overlap_between == "class":
            rivals &= classes[:, None] == classes
        kept = greedy(rivals, scores, candidates=kept)
    if settings.keep_best:
        for label in np.setdiff1d(classes[allowed], classes[kept]):
            own = np.flatnonzero(allowed & (classes == label))
            kept[own[np.argmax(scores[own])]] = True
    chosen = np.flatnonzero(kept)
    return chosen[np.argsort(-scores[chosen], kind="stable")]
