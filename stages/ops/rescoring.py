"""Scores of instances that know their masks: how these agree with a semantic map, and the best of the image.

    r_i = u_i (u_i / max_j u_j)^best_power,    u_i = s_i max(0.001, a_i)^map_power

s_i is the score of instance i, a_i how its mask agrees with the map: `shares_in_map` or `ious_with_map`. Of an image
with a strong instance the weak ones are parts or surroundings of it more often than in an image that has weak ones
alone.
"""

import numpy as np

from stages.ops import overlaps
from stages.ops.regions import Regions

LEAST_AGREEMENT = 1e-3  # what a mask that shares no pixel with the map counts as


def shares_in_map(masks: Regions, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share (K,) float64 of each mask's pixels that have its class in the map; 0 of an empty mask.

        a_i = |M_i and {q : map(q) = c_i}| / |M_i|

    Args:
        masks: M, the K masks.
        classes: c (K,) int, from 0 on.
        labels: semantic map (H, W) uint8: 0 background, 1 + k class k, 255 uncertain.
    """
    both, areas, _ = _common(masks, classes, labels)
    return both / np.maximum(areas, 1)


def ious_with_map(masks: Regions, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """IoU (K,) float64 of each mask with all pixels that have its class in the map; arguments as for `shares_in_map`.

    a_i = |M_i and {q : map(q) = c_i}| / |M_i or {q : map(q) = c_i}|
    """
    both, areas, theirs = _common(masks, classes, labels)
    return both / np.maximum(areas + theirs - both, 1)


def rescored(scores: np.ndarray, agreement: np.ndarray | None, *, map_power: float, best_power: float) -> np.ndarray:
    """Scores r (K,) float32 of the instances of one image.

    Args:
        scores: s (K,), 0 or more.
        agreement: a (K,) in [0, 1]; None: as a power of 0.
        map_power: 0: the map says nothing.
        best_power: 0: the best says nothing.
    """
    found = scores.astype(np.float64)
    if agreement is not None:
        found *= np.maximum(agreement, LEAST_AGREEMENT) ** map_power
    best = found.max(initial=0)
    if best > 0:
        found *= (found / best) ** best_power
    return found.astype(np.float32)


def with_prior(scores: np.ndarray, class_scores: np.ndarray | None, *, share: float) -> np.ndarray:
    """Weighted geometric mean (N, C) of the network's scores and the proposals' own, both (N, C) float32.

        s_{n,c} = y_{n,c}^(1 - share) q_{n,c}^share

    With `share` 0 the network's scores as they are. Raises ValueError where the proposals' source scores no classes.
    Differs from the papers: the source has seen the whole image at its own resolution, the network a few numbers of
    each proposal.
    """
    if share == 0:
        return scores
    if class_scores is None:
        raise ValueError(
            "the proposals' source scores no classes; set prior_share: 0, or take proposals of kind ranked"
        )
    return scores ** np.float32(1 - share) * class_scores ** np.float32(share)


def _common(masks: Regions, classes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (K,) of the masks that have their class in the map, of the masks, and of their classes in the map."""
    common = overlaps.common_pixels(masks.atoms, labels.astype(np.int32))
    both, areas, theirs = common.of_regions(masks.membership, np.arange(256) == 1 + classes[:, None])
    return np.diagonal(both), areas, theirs
