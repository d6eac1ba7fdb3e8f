"""Which images a gallery shows."""

from collections.abc import Sequence

import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances


def evenly(count: int, wanted: int) -> np.ndarray:
    """At most `wanted` positions spread evenly over `count`, first and last among them; ascending."""
    if wanted >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, wanted).round().astype(int)


def by_quality(quality: Sequence[float], wanted: int, *, best: bool) -> np.ndarray:
    """Positions of the `wanted` lowest (or highest) qualities, in that order; nan is never chosen, ties keep theirs."""
    values = np.asarray(quality, float)
    order = np.argsort(-values if best else values, kind="stable")
    return order[~np.isnan(values[order])][:wanted]


def prediction_quality(instances: Instances, ground_truth: GroundTruth) -> float:
    """Mean over an image's instances of the best IoU with a prediction of their class; nan without instances."""
    if not ground_truth.annotated or ground_truth.crowd.all():
        return float("nan")
    return float(same_class_iou(instances, ground_truth).max(axis=0, initial=0.0)[~ground_truth.crowd].mean())


def same_class_iou(instances: Instances, ground_truth: GroundTruth) -> np.ndarray:
    """IoU of every prediction with every annotated instance (D, G); 0 where their classes differ."""
    return np.where(
        instances.classes[:, None] == ground_truth.classes, instances.regions.iou(ground_truth.regions), 0.0
    )
