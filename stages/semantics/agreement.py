"""Labels of pixels on which two weakly supervised views of an image agree."""

import dataclasses

import numpy as np

from stages.core.artifacts.instances import Instances
from stages.core.artifacts.painting import painted
from stages.core.artifacts.semantic_maps import UNCERTAIN


def agreed_labels(labels: np.ndarray, instances: Instances, *, tags: np.ndarray, score_share: float) -> np.ndarray:
    """Labels (H, W) uint8 where a semantic map and painted instances say the same, else uncertain.

        label(p) = s(p) where s(p) = i(p);  255 elsewhere

    s is the map `labels`, i the instances of tagged classes painted by score. Of each class those count whose score is
    at least `score_share` of the image's best of that class. A network over pixels and one over regions err in
    different places, so what both say is right more often than what either says.
    Raises ValueError where the instances have another size than the map.
    """
    if instances.atoms.shape != labels.shape:
        raise ValueError(
            f"image {instances.image!r}: masks are {instances.atoms.shape} (height, width), the semantic map is"
            f" {labels.shape}; remake both from one list of images"
        )
    drawn = painted(_strong(instances, tags, score_share), score_threshold=0)
    return np.where(labels == drawn, labels, np.uint8(UNCERTAIN))


def _strong(instances: Instances, tags: np.ndarray, score_share: float) -> Instances:
    """The instances of tagged classes that are not far weaker than the best of their class."""
    best = np.zeros(len(tags), np.float32)
    np.maximum.at(best, instances.classes, instances.scores)
    kept = tags[instances.classes] & (instances.scores >= np.float32(score_share) * best[instances.classes])
    return dataclasses.replace(
        instances,
        membership=instances.membership[kept],
        classes=instances.classes[kept],
        scores=instances.scores[kept],
        boxes=None,
    )
