"""Semantic maps against annotated ones: one confusion matrix over all pixels, and IoU from it."""

import numpy as np

from stages.core.artifacts.semantic_maps import UNCERTAIN


def confusion_matrix(annotated: np.ndarray, labels: np.ndarray, class_count: int) -> np.ndarray:
    """Pixels by annotated and by found label, (C + 1, C + 2) int64: background first, uncertain as the last column.

    Void pixels are not counted.
    """
    counted = annotated != UNCERTAIN
    columns = class_count + 2
    found = np.where(labels == UNCERTAIN, columns - 1, labels)[counted].astype(np.int64)
    joint = annotated[counted].astype(np.int64) * columns + found
    return np.bincount(joint, minlength=(class_count + 1) * columns).reshape(class_count + 1, columns)


def overlaps(confusion: np.ndarray) -> np.ndarray:
    """IoU of each class (C + 1,) from pixels by annotated and found label; nan where neither has the class."""
    right = np.diag(confusion).astype(float)
    union = confusion.sum(0) + confusion.sum(1) - right
    return np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)
