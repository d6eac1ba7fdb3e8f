"""Precision over recall."""

from typing import Literal

import numpy as np

# The floats of NumPy's grids, in which 0.3 is above 3/10: the public programs use them, and recalls meet them exactly.
RECALLS = {"coco101": np.linspace(0, 1, 101), "voc07": np.linspace(0, 1, 11)}


def interpolated_average(
    recall: np.ndarray, precision: np.ndarray, interpolation: Literal["area", "coco101", "voc07"]
) -> np.ndarray:
    """Average of precision over recall, (T,), from curves (n, T); no prediction (n = 0) gives 0.

    Precision at a recall is the best that any longer list of predictions reaches (the falling envelope).
    """
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    if interpolation == "area":
        steps = np.diff(recall, axis=0, prepend=np.zeros((1, recall.shape[1])))
        return (steps * envelope).sum(axis=0)
    padded = np.concatenate([envelope, np.zeros((1, recall.shape[1]))])
    at = [np.searchsorted(recall[:, t], RECALLS[interpolation], side="left") for t in range(recall.shape[1])]
    return np.array([padded[at[t], t].mean() for t in range(recall.shape[1])])
