"""How well regions fit what a semantic map shows, and the order of proposals that follows from it."""

import numpy as np

from stages.core.artifacts.map_components import class_components
from stages.ops import overlaps
from stages.ops.regions import Regions

SMALLEST_FIT = 1e-3  # of a region that no component touches: those keep their source's order


def semantic_fit(regions: Regions, labels: np.ndarray, *, class_count: int, min_area: int) -> np.ndarray:
    """IoU of each region with the connected component of each class that fits it best, (N, C) float32.

        f_{n,c} = max_K |R_n and K| / |R_n or K|

    R_n are the regions, K the 8-connected components of class c in the map `labels` (H, W) uint8 (0 background, 1 + k
    class k, 255 uncertain). 0 where the map does not show the class. Components below `min_area` pixels do not count.
    Raises ValueError where the map has another size than the regions' image, or a label that no class has.
    """
    if labels.shape != regions.shape:
        raise ValueError(f"the semantic map is {labels.shape} (height, width), the proposals' image {regions.shape}")
    numbered, classes = class_components(labels, classes=np.ones(class_count, bool), min_area=min_area)
    common = overlaps.common_pixels(regions.atoms, numbered)
    each = np.arange(len(classes) + 1) == np.arange(1, len(classes) + 1)[:, None]  # (K, K + 1) bool, 0 is no component
    iou = overlaps.iou(*common.of_regions(regions.membership, each))  # (N, K)
    fit = np.zeros((len(regions), class_count), np.float32)
    np.maximum.at(fit.T, classes, iou.T.astype(np.float32))
    return fit


def ranking(fit: np.ndarray, *, rank_scale: float | None, power: float) -> np.ndarray:
    """Scores (N, C) float32 of proposals in the order of their source, from their fit (N, C).

        q_{n,c} = exp(-n / rank_scale) f_{n,c}^power,    n = 0, 1, ... the rank that the source gave

    Without `rank_scale` the source's rank does not count. A fit below 0.001 counts as 0.001.
    """
    rank = np.arange(len(fit), dtype=np.float64)
    prior = np.ones(len(fit)) if rank_scale is None else np.exp(-rank / rank_scale)
    return (prior[:, None] * np.maximum(fit.astype(np.float64), SMALLEST_FIT) ** power).astype(np.float32)
