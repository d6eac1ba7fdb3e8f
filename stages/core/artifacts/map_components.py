"""Connected components of the classes that a semantic map shows; NumPy."""

import numpy as np

from stages.core.artifacts.semantic_maps import UNCERTAIN
from stages.ops.components import label_components


def class_components(labels: np.ndarray, *, classes: np.ndarray, min_area: int) -> tuple[np.ndarray, np.ndarray]:
    """8-connected components of one image's classes (BESTIE section 3.3).

    Args:
        labels: (H, W) uint8, 0 background, 1 + k class k, 255 uncertain.
        classes: (C,) bool, which classes count (the image's tags).
        min_area: pixels; smaller components are left out.

    Returns:
        ids: (H, W) int32; 0: none, 1 + n: component n. The class of each component: (N,) int32 ascending; within a
        class by first pixel, row by row.

    Raises:
        ValueError: a label that no class has.
    """
    ids = np.zeros(labels.shape, np.int32)
    component_classes: list[int] = []
    for label in _present_classes(labels, classes):
        mask = labels == 1 + label
        (ys, xs) = (mask.any(axis).nonzero()[0] for axis in (1, 0))
        box = np.s_[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
        ids_in_box, count = label_components(mask[box], connectivity=8, min_area=min_area)
        np.copyto(ids[box], ids_in_box + len(component_classes), where=ids_in_box > 0)
        component_classes += [label] * int(count)
    return ids, np.array(component_classes, np.int32)


def class_regions(labels: np.ndarray, *, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `class_components`, but all pixels of a class are one component, connected or not."""
    present = _present_classes(labels, classes)
    id_of_label = np.zeros(UNCERTAIN + 1, np.int32)
    id_of_label[1 + present] = np.arange(1, len(present) + 1)
    return id_of_label[labels], present.astype(np.int32)


def _present_classes(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Those of the classes (C,) bool that a semantic map shows, ascending; ValueError for a label that no class has."""
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ValueError(f"semantic map is {labels.dtype} {labels.shape}, expected uint8 (height, width)")
    present = np.bincount(labels.reshape(-1), minlength=UNCERTAIN + 1)[:UNCERTAIN] > 0
    if present[1 + len(classes) :].any():
        raise ValueError(
            f"semantic map has the label {int(present.nonzero()[0][-1])}, expected 0 to {len(classes)} (background and "
            f"{len(classes)} classes) or {UNCERTAIN} (uncertain); make it from the same list of classes"
        )
    return (present[1 : 1 + len(classes)] & classes).nonzero()[0]
