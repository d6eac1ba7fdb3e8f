"""Step: semantic knowledge transfer, from semantic maps and cues to pseudo instances."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np

from stages.bestie.inputs import check_classes, map_of
from stages.bestie.settings import TransferSettings
from stages.bestie.transfer import transfer
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.artifacts.supervision import joint_supervision
from stages.core.workflow import step
from stages.ops.components import measure_components

log = logging.getLogger(__name__)


def transfer_semantics(
    *, images: Path, semantics: Path, cues: Path, output: Path, run: str, settings: TransferSettings
) -> None:
    """Write each image's semantic map, the cues that count, and the components that hold exactly one (section 3.3).

    Only tagged classes count; an image without tags has no candidates. The evaluation measures how right the accepted
    components are.

    Raises ValueError where maps or cues are of other classes or sizes, KeyError where they lack an image.
    """
    with read(images, ImageRecord) as listing, read(semantics, SemanticMaps) as maps, read(cues, Cues) as peaks:
        check_classes(listing, maps, peaks)
        header = {
            "classes": listing.header["classes"],
            "run": run,
            "cues": peaks.header["head"],
            "supervision": joint_supervision(peaks.header["supervision"], maps.header["supervision"]),
        }
        inputs = {"images": listing, "semantics": maps, "cues": peaks}
        counts = Counter(cues=0, candidates=0, accepted=0)
        with create(output, PseudoInstances, header=header, provenance=Provenance(
            "transfer_semantics", settings, None, inputs
        )) as writer:  # fmt: skip
            for i, image in enumerate(step.progress(listing.ids, total=len(listing), label="images")):
                labels = map_of(maps, listing, i)
                record = transferred(labels, peaks.find(image), tags=listing.field(i, "tags"), settings=settings)
                counts.update(
                    cues=len(record.points), candidates=record.candidates, accepted=len(record.classes)
                )  # fmt: skip
                writer.append(record)
    log.info("%d of %d components hold one of %d cues", counts["accepted"], counts["candidates"], counts["cues"])


def transferred(labels: np.ndarray, cues: Cues, *, tags: np.ndarray, settings: TransferSettings) -> PseudoInstances:
    """The pseudo instances of one image, from its semantic map (H, W) uint8, its cues and its tags (C,) bool."""
    counted = tags[cues.peak_classes] & confident(cues.peak_scores, settings)
    points, point_classes = cues.peaks[counted], cues.peak_classes[counted]
    ids, classes, candidates = transfer(labels, points, point_classes, tags=tags, min_area=settings.min_area)
    return PseudoInstances(
        image=cues.image,
        labels=labels,
        instances=ids,
        candidates=candidates,
        classes=classes,
        centroids=measure_components(ids, len(classes))[2].astype(np.float32),
        points=points.astype(np.float32),
        point_classes=point_classes,
        point_scores=cues.peak_scores[counted],
        by_points=cues.from_points,
    )


def confident(scores: np.ndarray, settings: TransferSettings) -> np.ndarray:
    """Which cues of these scores (P,) float32 count, (P,) bool."""
    if not settings.written_scores:
        return scores >= settings.cue_threshold
    return np.array([float(f"{score:.3f}") for score in scores.tolist()], np.float64) > settings.cue_threshold


if __name__ == "__main__":
    step.run(transfer_semantics)
