"""Instances painted into a semantic map."""

import numpy as np

from stages.core.artifacts.instances import Instances


def painted(instances: Instances, *, score_threshold: float) -> np.ndarray:
    """Class of each pixel, (H, W) int64: 0 background, 1 + k class k.

    Instances are painted from the lowest to the highest score, so that the best one at a pixel is seen, the first of
    equals. Those below `score_threshold`, in the run's own units, are left out. Scores are finite.
    """
    regions = instances.regions
    order = np.argsort(-instances.scores, kind="stable")
    order = order[instances.scores[order] >= score_threshold]
    if not len(order):
        return np.zeros(regions.shape, np.int64)
    covers = regions.membership[order]  # (n, A), best first
    best = instances.classes[order][covers.argmax(axis=0)].astype(np.int64)
    return np.where(covers.any(axis=0), 1 + best, 0)[regions.atoms]
