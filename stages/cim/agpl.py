"""Attention-guided pseudo labelling (AGPL; Ou et al., Sensors 2021): clusters of proposals from a classifier's peaks.

CIM section 3.2, equations 1 and 2, in the region algebra: a support mask is a set of atoms.
"""

import numpy as np

from stages.core.config.cim import AgplSettings
from stages.ops.regions import Regions

BACKGROUND = -1


def choose_peaks(classes: np.ndarray, scores: np.ndarray, *, tags: np.ndarray, ordered: bool) -> np.ndarray:
    """Indices (P,) int64 of the peaks that vote, in the order in which they are applied: a later one overrides.

    All peaks of tagged classes vote (`tags` (C,) bool), by ascending score, equal ones as they come; `ordered` peaks
    (points that a person set) in the order given.

    Differs from the paper: it goes by descending score and never assigns twice, which gives the same clusters.
    """
    voting = tags[classes].nonzero()[0]
    return voting if ordered else voting[scores[voting].argsort(kind="stable")]


def assign_clusters(
    regions: Regions, points: np.ndarray, classes: np.ndarray, *, tagged: bool, settings: AgplSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Cluster id and class of each proposal from points (P, 2) (y, x) and their classes (P,), applied in order.

    Returns clusters (N,) int32 and cluster classes (N,) int32. Point i makes cluster i + 1 of the proposals whose IoU
    with its support mask is above the threshold; a later point takes proposals from an earlier one. Proposals that
    touch a support mask but are in no cluster are background (class -1) and share the id P + 1. The others are ignored
    (id 0, class -1). Without a tag every proposal is background, id 1, as in the released code.
    """
    count, peaks = len(regions), len(points)
    if not tagged:
        return np.ones(count, np.int32), np.full(count, BACKGROUND, np.int32)
    support = regions.mean_support(regions.holding(points), settings.support_threshold)
    overlap = support.iou(regions)
    joins = overlap > settings.iou_threshold
    ids = np.arange(1, peaks + 1, dtype=np.int32)[:, None]
    clusters = np.where(joins, ids, 0).max(axis=0, initial=0).astype(np.int32)
    cluster_classes = np.append(BACKGROUND, classes).astype(np.int32)[clusters]
    touched = (overlap > 0).any(axis=0)
    clusters[touched & (clusters == 0)] = peaks + 1
    return clusters, cluster_classes
