"""Folds of a training split: each image is held out of one training, and judged by the classifier of that one."""

import numpy as np

from stages.core.artifacts.images import ImageRecord, all_tags
from stages.core.artifacts.storage import Artifact


def folds_of(tags: np.ndarray, looked_at: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """The fold of each image, (images,) int64 from 0; -1 where nobody looked, so that there is no tag to judge.

    The images are dealt out by their rarest class, in random order within it: each fold has its share of every class,
    and of the images that show none.

    Args:
        tags: (images, classes) bool.
        looked_at: (images,) bool.
        count: number of folds.
        seed: of the random order.

    Raises:
        ValueError: fewer images than folds.
    """
    if looked_at.sum() < count:
        raise ValueError(
            f"{looked_at.sum()} images have tags or are known to show no class, fewer than the {count} folds of"
            " suspect_tags.folds.count; lower it, or tag more images"
        )
    of_class = tags[looked_at].sum(0)
    frequency = np.where(tags, of_class, len(tags) + 1)
    rarest = np.where(tags.any(1), frequency.argmin(1), tags.shape[1])
    order = np.random.default_rng(seed).permutation(len(tags))
    order = order[np.argsort(rarest[order], kind="stable")]
    order = order[looked_at[order]]
    folds = np.full(len(tags), -1)
    folds[order] = np.arange(len(order)) % count
    return folds


def held_out(images: Artifact[ImageRecord], *, fold: int, count: int, seed: int) -> list[int]:
    """Positions of the images of a fold, counted from 0. Raises ValueError as `folds_of`."""
    folds = folds_of(all_tags(images), images.column("looked_at"), count=count, seed=seed)
    return np.flatnonzero(folds == fold).tolist()
