"""Instances whose scores lean on semantic maps and on the best of their image."""

import numpy as np

from stages.core.artifacts.instances import Instances
from stages.core.artifacts.regions import packed_fields
from stages.core.config.leaning import LeaningSettings
from stages.ops.regions import Regions
from stages.ops.rescoring import ious_with_map, rescored


def leaning_instances(
    image: str,
    masks: Regions,
    *,
    classes: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray | None,
    labels: np.ndarray | None,
    settings: LeaningSettings,
) -> Instances:
    """The instances of one image, best first by `rescored`; masks without a pixel are left out.

    Args:
        image: its id.
        masks: of N instances.
        classes: (N,) int, from 0 on.
        scores: (N,), 0 or more, as the network gives them.
        boxes: (N, 4), predicted, in pixels of the image; None: those of the masks.
        labels: semantic map (H, W) uint8, where one is read: a mask agrees as far as its IoU with its class in it.
        settings: of which the powers count.
    """
    filled = np.flatnonzero(masks.areas() > 0)
    masks, classes = masks.select(filled), classes[filled]
    final = rescored(
        scores[filled],
        None if labels is None else ious_with_map(masks, classes, labels),
        map_power=settings.map_power,
        best_power=settings.best_power,
    )
    order = np.argsort(-final, kind="stable")
    return Instances(
        image=image,
        classes=classes[order].astype(np.int32),
        scores=final[order],
        boxes=None if boxes is None else boxes[filled][order].astype(np.float32),
        **packed_fields(masks.select(order)),
    )
