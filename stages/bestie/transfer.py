"""What semantic maps and cues say before any network: components of classes that are instances; NumPy."""

import numpy as np

from stages.core.artifacts.map_components import class_components


def transfer(
    labels: np.ndarray, points: np.ndarray, point_classes: np.ndarray, *, tags: np.ndarray, min_area: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Semantic knowledge transfer (section 3.3): components of a tagged class with exactly one cue are instances.

        accepted(K)  <=>  | { cues of K's class that lie in K } | = 1

    K is a connected component of a tagged class in the semantic map. Of a whole image or of a crop; where
    `data.accepted_on` is crop, training asks anew for each crop (official code).

    Args:
        labels: (H, W) uint8 semantic map, 255 uncertain.
        points: (P, 2) (y, x), whole or fractional; a cue lies in the pixel that holds it, one outside lies in none.
        point_classes: (P,) integers.
        tags: (C,) bool.
        min_area: pixels; smaller components are no candidates.

    Returns:
        ids (H, W) int32: 0: none, 1 + i: accepted component i; their classes (A,) int32; and the number of candidates.
    """
    if points.shape != (len(point_classes), 2):
        raise ValueError(f"points are {points.shape} for {len(point_classes)} classes, expected (points, 2) as (y, x)")
    ids, classes = class_components(labels, classes=tags, min_area=min_area)
    yx = np.floor(points).astype(np.int64)
    inside = ((yx >= 0) & (yx < labels.shape)).all(1)
    component_id = ids[tuple(yx[inside].T)] - 1  # of each cue, -1: in none
    # classes[-1] of a cue in no component: left out by the first condition
    counted = (component_id >= 0) & (np.append(classes, -1)[component_id] == point_classes[inside])
    accepted = np.bincount(component_id[counted], minlength=len(classes)) == 1
    accepted_id = np.append(0, np.where(accepted, np.cumsum(accepted), 0)).astype(np.int32)
    return accepted_id[ids], classes[accepted], len(classes)
