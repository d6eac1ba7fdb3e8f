"""Attention-guided pseudo labelling (AGPL; Ou et al., Sensors 2021): clusters of proposals from a classifier's peaks.

CIM section 3.2, with N proposals R_n, peak i of class c at pixel p_i, and V_i = {n: p_i in R_n} the proposals that hold
it:

    S_i(q)    = [ 1 / |V_i| sum_{n in V_i} R_n(q) > 0.7 ]    support mask of the peak, q a pixel           (1)
    y^0_{n,c} = 1    if IoU(R_n, S_i) > 0.5                  pre-computed pseudo label of proposal n       (2)

In the region algebra a support mask is a set of atoms.
"""

import cv2
import numpy as np

from stages.cim.columns import BACKGROUND
from stages.cim.settings import AgplSettings
from stages.ops.regions import Regions


def choose_peaks(classes: np.ndarray, scores: np.ndarray, *, tags: np.ndarray, ordered: bool) -> np.ndarray:
    """Indices (P,) int64 of the peaks that vote, in the order in which they are applied: a later one overrides.

    All peaks of tagged classes vote (`tags` (C,) bool), by ascending score, equal ones as they come; `ordered` peaks
    (points that a person set) in the order given.

    Differs from the paper: it goes by descending score and never assigns twice, which gives the same clusters.
    """
    voting = tags[classes].nonzero()[0]
    return voting if ordered else voting[scores[voting].argsort(kind="stable")]


def cast_votes(
    regions: Regions, points: np.ndarray, classes: np.ndarray, *, responses: np.ndarray, settings: AgplSettings
) -> np.ndarray:
    """Votes (P, N) of the proposals for points (P, 2) (y, x) of classes (P,): bool, or float64 weights.

    A proposal that does not hold the point has no vote. Class response maps `responses` (C, h, w) are read for
    `votes: response` alone; ValueError where there are none.

    Differs from the paper: with `votes: response` a vote weighs as much as the proposal agrees with the class's
    response. Equation 1 lets all proposals at a peak vote alike, which suits sources that are trained to find objects.
    """
    holding = regions.holding(points)
    if settings.votes == "equal" or not len(points):
        return holding
    if not responses.shape[1]:
        raise ValueError("votes of AGPL are set to 'response', but these cues have no response maps; set votes: equal")
    present, row = np.unique(classes, return_inverse=True)
    areas = response_areas(responses[present], regions.shape, share=settings.response_share)
    agreement = Regions.from_masks(areas).iou(regions).astype(np.float64)
    return holding * agreement[row] ** settings.response_power


def response_areas(responses: np.ndarray, shape: tuple[int, int], *, share: float) -> np.ndarray:
    """Where classes respond, (K, H, W) bool: response maps (K, h, w), enlarged, above `share` of their maximum.

    A map without a positive value counts from its minimum.
    """
    enlarged = np.stack([cv2.resize(response, shape[::-1], interpolation=cv2.INTER_LINEAR) for response in responses])
    highest, lowest = enlarged.max((1, 2), keepdims=True), enlarged.min((1, 2), keepdims=True)
    floor = np.where(highest > 0, 0, lowest)
    return enlarged - floor > share * (highest - floor)


def assign_clusters(
    regions: Regions, votes: np.ndarray, classes: np.ndarray, *, tagged: bool, settings: AgplSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Cluster id and class of each proposal from votes (P, N) for points of classes (P,), applied in order.

    Returns clusters (N,) int32 and cluster classes (N,) int32. Point i makes cluster i + 1 of the proposals with
    IoU(R_n, S_i) above the threshold (equation 2); a later point takes proposals from an earlier one. Proposals that
    touch a support mask but are in no cluster are background (class -1) and share the id P + 1. The others are ignored
    (id 0, class -1). Without a tag every proposal is background, id 1, as in the official code.
    """
    count, peaks = len(regions), len(classes)
    if not tagged:
        return np.ones(count, np.int32), np.full(count, BACKGROUND, np.int32)
    support = regions.mean_support(votes, settings.support_threshold)
    overlap = support.iou(regions)
    joins = overlap > settings.iou_threshold
    ids = np.arange(1, peaks + 1, dtype=np.int32)[:, None]
    clusters = np.where(joins, ids, 0).max(axis=0, initial=0).astype(np.int32)
    cluster_classes = np.append(BACKGROUND, classes).astype(np.int32)[clusters]
    touched = (overlap > 0).any(axis=0)
    clusters[touched & (clusters == 0)] = peaks + 1
    return clusters, cluster_classes
