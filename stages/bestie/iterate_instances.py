"""Step: pseudo instances from an earlier run's predictions on the training split (BESTIE, table 5)."""

import logging
from pathlib import Path

import numpy as np

from stages.bestie.inputs import check_classes, map_of
from stages.bestie.settings import IterationSettings
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.artifacts.supervision import joint_supervision
from stages.core.workflow import step
from stages.ops.components import measure_components

log = logging.getLogger(__name__)


def iterate_instances(
    *, images: Path, semantics: Path, instances: Path, output: Path, run: str, settings: IterationSettings
) -> None:
    """Write each image's semantic map and the earlier run's instances on it, of tagged classes alone.

    A pixel belongs to the best instance that holds it; the cues are the instances' centroids.

    Raises ValueError where maps or instances are of other classes or sizes, KeyError where they lack an image.
    """
    with (
        read(images, ImageRecord) as listing,
        read(semantics, SemanticMaps) as maps,
        read(instances, Instances) as predictions,
    ):
        check_classes(listing, maps, predictions)
        header = {
            "classes": listing.header["classes"],
            "run": run,
            "cues": f"predictions of {predictions.header['run']}",
            "supervision": joint_supervision(predictions.header["supervision"], maps.header["supervision"]),
        }
        inputs = {"images": listing, "semantics": maps, "instances": predictions}
        accepted = 0
        with create(output, PseudoInstances, header=header, provenance=Provenance(
            "iterate_instances", settings, None, inputs
        )) as writer:  # fmt: skip
            for i, image in enumerate(step.progress(listing.ids, total=len(listing), label="images")):
                labels = map_of(maps, listing, i)
                record = iterated(labels, predictions.find(image), tags=listing.field(i, "tags"), settings=settings)
                accepted += len(record.classes)
                writer.append(record)
    log.info("%d instances of %s become pseudo instances", accepted, predictions.header["run"])


def iterated(
    labels: np.ndarray, predictions: Instances, *, tags: np.ndarray, settings: IterationSettings
) -> PseudoInstances:
    """The pseudo instances of one image, from its semantic map (H, W) uint8 and an earlier run's instances.

    Raises ValueError where the masks have another size than the map.
    """
    regions = predictions.regions
    if regions.shape != labels.shape:
        raise ValueError(
            f"image {predictions.image!r}: masks are {regions.shape} (height, width), the semantic map is "
            f"{labels.shape}; remake both from one list of images"
        )
    candidates = np.flatnonzero(tags[predictions.classes] & (predictions.scores >= settings.score_threshold))
    best_first = candidates[np.argsort(-predictions.scores[candidates], kind="stable")]
    instance_id = _first_holding(regions.membership[best_first])[regions.atoms]  # position in best_first, -1: none
    areas = np.bincount(instance_id[instance_id >= 0], minlength=len(best_first))
    kept = np.flatnonzero(areas >= settings.min_area)
    new_id = np.zeros(len(best_first) + 1, np.int32)
    new_id[kept] = np.arange(1, len(kept) + 1)
    instances = new_id[instance_id]  # the last entry, 0, is that of pixels in no instance
    centroids = measure_components(instances, len(kept))[2].astype(np.float32)
    classes = predictions.classes[best_first[kept]]
    return PseudoInstances(
        image=predictions.image,
        labels=labels,
        instances=instances,
        candidates=len(best_first),
        classes=classes,
        centroids=centroids,
        points=centroids,
        point_classes=classes,
        point_scores=predictions.scores[best_first[kept]],
        by_points=False,
    )


def _first_holding(membership: np.ndarray) -> np.ndarray:
    """First region (N, A) bool that holds each atom, (A,) int64; -1 where none does."""
    if not len(membership):
        return np.full(membership.shape[1], -1)
    return np.where(membership.any(0), membership.argmax(0), -1)


if __name__ == "__main__":
    step.run(iterate_instances)
