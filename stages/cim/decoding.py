"""From proposals' scores to instances."""

import numpy as np

from stages.cim.settings import CimPredictionSettings
from stages.ops import boxes as box_algebra
from stages.ops.nms import greedy
from stages.ops.regions import Regions


def by_rank(scores: np.ndarray, *, scale: float | None) -> np.ndarray:
    """Scores (N, C) times exp(-rank / scale), the rank of proposals 0 to N - 1 being their place; None: as they are.

    Differs from the paper: a network that only tags have taught cannot tell a thing from the thing with a piece of its
    background, which share nearly all of their features; the proposals' source, which looks at contours, can.
    """
    if scale is None:
        return scores
    return scores * np.exp(-np.arange(len(scores), dtype=np.float32) / np.float32(scale))[:, None]


def choose_instances(
    regions: Regions,
    scores: np.ndarray,
    *,
    boxes: np.ndarray,
    tags: np.ndarray | None,
    settings: CimPredictionSettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Proposal and class of each instance, both (K,) int64, best score first.

    `scores` (N, C) float32; `boxes` (N, 4) float32 as the network saw them: with `inputs.inclusive_clip` those at the
    right and the lower border are a pixel smaller in suppression, too, as in the official code. Per class the proposals
    above the score threshold pass greedy suppression by box or mask overlap; of all classes the `top_k` best stay, and
    all that tie with the last. A proposal may be chosen in several classes. With `tags` (C,) bool only tagged classes
    count. Equal scores: the lower proposal, then the lower class.
    """
    candidates = scores > np.float32(settings.score_threshold)
    if tags is not None:
        candidates &= tags
    by_box = settings.nms == "boxes"
    overlap = box_algebra.iou(boxes, inclusive=settings.nms_inclusive) if by_box else regions.iou()
    survivors = greedy(overlap >= np.float32(settings.nms_threshold), scores, candidates=candidates)
    proposals, classes = survivors.nonzero()
    values = scores[proposals, classes]
    order = np.argsort(-values, kind="stable")
    if len(order) > settings.top_k:
        order = order[values[order] >= values[order[settings.top_k - 1]]]
    return proposals[order], classes[order]
