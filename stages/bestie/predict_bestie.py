"""Step: finds instances in images with a trained network of BESTIE."""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stages.bestie.decoding import InstanceMap, decode, decode_at_points
from stages.bestie.inputs import check_classes, check_points
from stages.bestie.maps import Maps, leaning_maps, load_network, maps_of, small_maps, with_crf
from stages.bestie.network import BestieNetwork
from stages.bestie.settings import BestiePredictionSettings
from stages.bestie.targets import Points
from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.leaning import leaning_instances
from stages.core.artifacts.semantic_maps import SemanticMaps, check_given, labels_of
from stages.core.artifacts.storage import Artifact, Provenance, create, read, read_optional
from stages.core.artifacts.supervision import TAGS, joint_supervision
from stages.core.images.loading import load_rgb
from stages.core.networks.weights import weights_digest
from stages.core.workflow import step

log = logging.getLogger(__name__)


def predict_bestie(
    *,
    images: Path,
    weights: Path,
    cues: Path | None,
    output: Path,
    output_maps: Path,
    settings: BestiePredictionSettings,
    run: str,
    device: str,
    semantics: Path | None = None,
) -> None:
    """Find the instances of each image; they never overlap, and an image may have none.

    `output_maps` gets the center and offset maps that they come from, made small, to look at.
    The network is rebuilt from the settings inside the weights file. Tags are not read unless `use_tags` is set.
    `cues` are points, needed where `use_points` is set and only there; the supervision of the instances then says so.
    `semantics` are the maps that masks and scores lean on, needed where `map_weight` or `map_power` is above 0.

    Raises ValueError where the weights are not of `train_bestie` or of other classes, where the cues are of other
    classes, no points, or none that could count, or where maps are missing or of other images or classes; KeyError
    where the cues lack an image.
    """
    with (
        read(images, ImageRecord) as listing,
        points_for(listing, cues, settings) as points,
        read_optional(semantics, SemanticMaps) as given,
    ):
        check_given(given, listing, settings)
        network, metadata = load_network(weights, listing, device=device)
        header = {
            "classes": listing.header["classes"],
            "category_ids": listing.header["category_ids"],
            "run": run,
            "method": "bestie",
            "supervision": joint_supervision(
                metadata["supervision"],
                *(TAGS if one is None else one.header["supervision"] for one in (points, given)),
            ),
            "weights": weights_digest(weights),
        }
        counts, lost = [], Counter(given=0, points=0, classes=0, images=0)
        read_here = {"images": listing, "cues": points, "semantics": given}
        inputs = {name: one for name, one in read_here.items() if one is not None}
        provenance = Provenance("predict_bestie", settings, None, inputs)
        with (
            create(output, Instances, header=header, provenance=provenance) as instances,
            create(output_maps, CenterMaps, header=header, provenance=provenance) as maps_out,
        ):
            for image in step.progress(listing, total=len(listing), label="images"):
                rgb = load_rgb(image, listing.header["root"])
                labels = None if given is None else labels_of(given, image.image, rgb.shape[:2])
                maps = _leaned_maps(network, rgb, labels, settings)
                decoded = _decoded(maps, image, points, settings, lost)
                maps_out.append(small_maps(maps, image.image, longer_side=settings.kept_side))
                counts.append(len(decoded.scores))
                instances.append(_instances(image.image, decoded, labels, settings))
        log.info("%d instances in %d images, %d without any", sum(counts), len(counts), counts.count(0))
        if points is not None:
            log.info(
                "%(points)d of %(given)d points got no pixel, %(classes)d predicted classes have no point, %(images)d"
                " images none at all",
                lost,
            )


@contextlib.contextmanager
def points_for(
    images: Artifact[ImageRecord], cues: Path | None, settings: BestiePredictionSettings
) -> Iterator[Artifact[Cues] | None]:
    """The checked points that the settings ask for, or None. Raises as `predict_bestie` says."""
    if settings.use_points != (cues is not None):
        raise ValueError(
            f"use_points is {settings.use_points}, cues are {cues}; give cues where it is set and only there"
        )
    if cues is None:
        yield None
        return
    with read(cues, Cues) as points:
        check_classes(images, points)
        check_points(points, images)
        yield points


def _leaned_maps(
    network: BestieNetwork, rgb: np.ndarray, labels: np.ndarray | None, settings: BestiePredictionSettings
) -> Maps:
    """The maps of an image; the semantic one leans on that of another source, `labels`, and follows colours."""
    maps = maps_of(network, rgb, settings=settings)
    if labels is not None and settings.masks_lean:
        maps = leaning_maps(maps, labels, weight=settings.map_weight)
    return with_crf(maps, rgb, settings=settings.crf)


def _instances(
    image: str, decoded: InstanceMap, labels: np.ndarray | None, settings: BestiePredictionSettings
) -> Instances:
    """The decoded instances with their final scores; powers ask for scores of 0 or more."""
    leans = settings.map_power > 0 or settings.best_power > 0
    return leaning_instances(
        image, decoded.regions, classes=decoded.classes, boxes=None, labels=labels, settings=settings,
        scores=np.maximum(decoded.scores, 0) if leans else decoded.scores,
    )  # fmt: skip


def _decoded(
    maps: Maps,
    image: ImageRecord,
    points: Artifact[Cues] | None,
    settings: BestiePredictionSettings,
    lost: Counter[str],
) -> InstanceMap:
    """The instances of one image; `lost` counts what its points lose."""
    if points is None:
        return decode(maps, tags=image.tags if settings.use_tags else None, settings=settings)
    record = points.find(image.image)
    given = Points.of_image(record.peaks, record.peak_classes)
    decoded, missed = decode_at_points(maps, given, tags=image.tags, settings=settings)
    lost.update(given=len(given.yx), images=not len(given.yx), **missed._asdict())
    return decoded


if __name__ == "__main__":
    step.run(predict_bestie)
