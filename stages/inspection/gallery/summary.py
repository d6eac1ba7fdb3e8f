"""What an image of a gallery is found and sorted by."""

from typing import Any

import numpy as np

from stages.core.artifacts.instances import Instances
from stages.inspection.gallery.scene import Scene
from stages.ops.errors import CROWD, DUPLICATE, RIGHT, ErrorKinds
from stages.ops.precision import interpolated_average


def summary(scene: Scene, instances: Instances, beside: list[Instances]) -> dict[str, Any]:
    """Numbers of one image, as JSON can hold them.

    Returns:
        `p`: [class, score, kind of error (-1: not known), IoU, share of the image] of each prediction shown, best
        first; `g`: [class, best IoU of its class, found (0 or 1), share of the image] of each annotated instance but
        crowds, None where masks are not known; `ap`, `missed`, `duplicates`: see the functions, None where not known;
        `change`: how far the predictions are from those of each of `beside`, see `change`.
    """
    kinds, known = scene.sorted_out(instances), scene.ground_truth
    pixels = scene.shape[0] * scene.shape[1]
    shown = np.argsort(-instances.scores, kind="stable")[: scene.settings.predictions]
    areas = scene.regions(instances).areas()
    predictions = [
        [
            int(instances.classes[i]),
            round(float(instances.scores[i]), 3),
            -1 if kinds is None else int(kinds.of[i]),
            -1 if kinds is None else round(float(kinds.iou[i]), 3),
            round(float(areas[i]) / pixels, 5),
        ]
        for i in shown.tolist()
    ]
    annotated = None
    if kinds is not None:
        best, sizes = scene.class_overlap(instances).max(axis=0, initial=0.0), scene.regions(known).areas()
        annotated = [
            [int(known.classes[g]), round(float(best[g]), 3), int(kinds.found[g]), round(float(sizes[g]) / pixels, 5)]
            for g in np.flatnonzero(~known.crowd).tolist()
        ]
    return {
        "p": predictions,
        "g": annotated,
        "ap": None if kinds is None else average_precision(scene, instances, kinds),
        "missed": None if kinds is None else int((~kinds.found & ~known.crowd).sum()),
        "duplicates": None if kinds is None else int((kinds.of == DUPLICATE).sum()),
        "change": [change(instances, other, least=scene.settings.score_threshold) for other in beside],
    }


def average_precision(scene: Scene, instances: Instances, kinds: ErrorKinds) -> float | None:
    """AP50 of one image in percent: the mean over its annotated classes; None where it has no instance.

    VOC's area below the falling envelope of precision, of the image's own predictions alone: for sorting, as AP is not
    a mean over images. Predictions in crowds count neither way.
    """
    known = scene.ground_truth
    values = []
    for label in np.unique(known.classes[~known.crowd]):
        own = np.flatnonzero((instances.classes == label) & (kinds.of != CROWD))
        hit = (kinds.of[own] == RIGHT)[np.argsort(-instances.scores[own], kind="stable")]
        total = int(((known.classes == label) & ~known.crowd).sum())
        true = np.cumsum(hit)[:, None]
        precision = true / np.arange(1, len(hit) + 1)[:, None]
        values.append(100 * float(interpolated_average(true / total, precision, "area")[0]))
    return round(float(np.mean(values)), 1) if values else None


def change(instances: Instances, other: Instances, *, least: float) -> float:
    """How far two sets of predictions of one image are apart, 0 (the same) to 1 (nothing in common).

    1 minus the mean, over all predictions of both with score `least` or more, of the best IoU with a prediction of the
    same class in the other set.
    """
    mine, theirs = (np.flatnonzero(one.scores >= least) for one in (instances, other))
    if not len(mine) and not len(theirs):
        return 0.0
    overlap = instances.regions.select(mine).iou(other.regions.select(theirs))
    overlap = np.where(instances.classes[mine][:, None] == other.classes[theirs], overlap, 0.0)
    best = np.concatenate([overlap.max(axis=1, initial=0.0), overlap.max(axis=0, initial=0.0)])
    return round(1 - float(best.mean()), 3)
