"""What is right or wrong with each prediction of an image, from the pixels that it shares with annotated instances."""

from dataclasses import dataclass

import numpy as np

from stages.ops.overlaps import iou

# Codes of `ErrorKinds.of`, in the order in which they are asked: the first that holds counts.
KINDS = ("right", "duplicate", "class", "crowd", "grouped", "part", "loose", "background", "poor")
RIGHT, DUPLICATE, CLASS, CROWD, GROUPED, PART, LOOSE, BACKGROUND, POOR = range(len(KINDS))
MEANINGS = {
    "right": "the first prediction that reaches the overlap with an instance of its class",
    "duplicate": "reaches it with an instance that a stronger prediction has",
    "class": "reaches it with an instance of another class only",
    "crowd": "lies, at least half of it, in a crowd of its class; counts neither way",
    "grouped": "holds at least half of two instances or more",
    "part": "lies for the most part in one instance, and is too small",
    "loose": "holds the most part of one instance, and much beside it",
    "background": "hardly touches any instance",
    "poor": "overlaps an instance, but neither as a part nor as a whole",
}
HELD = 0.5  # share of an instance from which it is held by a group; of a prediction, from which it lies in a crowd
MOST = 0.7  # share from which a prediction lies in an instance for the most part, or holds it so
TOUCHES = 0.1  # IoU from which a prediction is more than background


@dataclass(frozen=True)
class ErrorKinds:
    """What each prediction is, and which instance it is about.

    Attributes:
        of: (D,) int8, index in `KINDS`.
        instance: (D,) int32, the instance that it overlaps most: of its class where it reaches the overlap with one,
            else of any; -1 where it touches none.
        iou: (D,) float64, IoU with that instance.
        found: (G,) bool, instances that a prediction is right about.
    """

    of: np.ndarray
    instance: np.ndarray
    iou: np.ndarray
    found: np.ndarray


def kinds_of_errors(
    intersections: np.ndarray,
    *,
    areas: np.ndarray,
    instance_areas: np.ndarray,
    classes: np.ndarray,
    instance_classes: np.ndarray,
    crowd: np.ndarray,
    threshold: float = 0.5,
) -> ErrorKinds:
    """Sort the predictions of an image, best first, by what is wrong with them.

    Args:
        intersections: (D, G), pixels that predictions and annotated instances share.
        areas: (D,), pixels of the predictions.
        instance_areas: (G,), pixels of the instances.
        classes: (D,) int, classes of the predictions.
        instance_classes: (G,) int, classes of the instances.
        crowd: (G,) bool, instances that stand for many; they are neither found nor missed.
        threshold: IoU from which a prediction is right.

    A prediction claims the instance of its class that it overlaps most; of several that claim one the strongest is
    right, as VOC counts. Kinds and their limits: `KINDS`, `MEANINGS`; the order decides where several hold.
    """
    count, instances = intersections.shape
    if not instances:
        nothing = np.full(count, BACKGROUND, np.int8)
        return ErrorKinds(nothing, np.full(count, -1, np.int32), np.zeros(count), np.zeros(0, bool))
    intersections = np.asarray(intersections, np.float64)
    overlap = np.where(crowd, 0.0, iou(intersections, areas, instance_areas))
    same = classes[:, None] == instance_classes
    in_instance = intersections / np.maximum(areas, 1)[:, None]
    held = np.where(crowd, 0.0, intersections / np.maximum(instance_areas, 1))
    own = np.where(same, overlap, 0.0)
    reaches, claimed = own.max(axis=1) >= threshold, own.argmax(axis=1)
    first = np.zeros(count, bool)
    first[np.unique(np.where(reaches, claimed, -1), return_index=True)[1]] = True
    best = overlap.max(axis=1)
    conditions = [
        reaches & first,
        reaches,
        best >= threshold,
        (np.where(same & crowd, in_instance, 0.0) >= HELD).any(axis=1),
        (held >= HELD).sum(axis=1) >= 2,
        (np.where(crowd, 0.0, in_instance) >= MOST).any(axis=1),
        (held >= MOST).any(axis=1),
        best < TOUCHES,
    ]
    about = np.where(reaches, claimed, np.where(best > 0, overlap.argmax(axis=1), -1))
    found = np.zeros(instances, bool)
    found[claimed[reaches & first]] = True
    return ErrorKinds(
        of=np.select(conditions, range(len(conditions)), default=POOR).astype(np.int8),
        instance=about.astype(np.int32),
        iou=np.where(about >= 0, np.take_along_axis(overlap, np.maximum(about, 0)[:, None], 1)[:, 0], 0.0),
        found=found,
    )
