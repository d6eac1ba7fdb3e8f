"""Average best overlap (ABO) and recall of instances; docs/metrics.md."""

from collections.abc import Iterable, Sequence

import numpy as np

from stages.evaluation.average_precision import mean_of_known
from stages.evaluation.overlaps import Overlaps


def best_overlaps(overlaps: Overlaps) -> np.ndarray:
    """Best IoU of each instance with a prediction of its class, (G,); 0 where there is none.

    Differs from the official code: boxlevelset leaves out instances without any prediction of their class, which
    flatters the mean; here they count as 0.
    """
    same_class = overlaps.classes[:, None] == overlaps.ground_truth_classes
    return np.where(same_class, overlaps.overlap, 0.0).max(axis=0, initial=0.0)


def average_best_overlap(best: np.ndarray) -> float:
    """ABO "at instance level" (Pont-Tuset and Van Gool 2015): mean over all instances; nan where there is none."""
    return float(best.mean()) if best.size else float("nan")


def class_average_best_overlap(best: np.ndarray, classes: np.ndarray, class_count: int) -> np.ndarray:
    """ABO of each class (Uijlings et al. 2013), (C,); nan for a class without an instance. Their mean is MABO."""
    return np.array([average_best_overlap(best[classes == label]) for label in range(class_count)])


def mean_average_best_overlap(best: np.ndarray, classes: np.ndarray, class_count: int) -> float:
    """MABO: mean over classes of their ABO, without classes that have no instance."""
    return float(mean_of_known(class_average_best_overlap(best, classes, class_count)))


def recall(best: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Share of instances whose best overlap is at least each threshold, (T,); nan where there is no instance."""
    return np.array([average_best_overlap((best >= threshold).astype(np.float64)) for threshold in thresholds])


def concatenated(parts: Iterable[np.ndarray], dtype: type = np.float64) -> np.ndarray:
    """Values of all images in one array; empty where there are none."""
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)
