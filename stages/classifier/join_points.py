"""Step: puts points in the place of a classifier's cues in the images that have them."""

import logging
from pathlib import Path

import numpy as np

from stages.classifier.take_points import as_cues, check_points
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord, all_tags, check_classes
from stages.core.artifacts.points import Points
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.workflow import step

log = logging.getLogger(__name__)


def join_points(*, images: Path, points: Path, cues: Path, output: Path) -> None:
    """Write of each image its points as `take_points` does, or the classifier's cues where it has no point.

    The header says of how many images there are points, and so do the metrics of what is trained on the cues. Classes
    that an image is tagged with, but that none of its points has, get no cue; they are counted in the log.
    Raises ValueError where the artifacts are of other classes, or no image has a point, KeyError where they lack an
    image.
    """
    with read(images, ImageRecord) as listing, read(points, Points) as labels, read(cues, Cues) as found:
        check_points(listing, labels)
        check_classes(listing, found, remedy="find the cues again")
        count = sum(len(labels.find(image).classes) > 0 for image in listing.ids)
        if not count:
            raise ValueError(
                f"{points}: none of {len(listing)} images has a point; give the split points (images.<kind>), or set"
                " the run's cues to the classifier alone"
            )
        header = {
            **found.header,
            "head": f"points or {found.header['head']}",
            "supervision": f"image tags + points on {count} of {len(listing)} images",
        }
        made_by = Provenance("join_points", None, None, {"images": listing, "points": labels, "cues": found})
        with create(output, Cues, header=header, provenance=made_by) as writer:
            for image in listing.ids:
                writer.append(_joined(labels.find(image), found, len(listing.header["classes"])))
        log.info("points on %d of %d images, the classifier's cues on the others", count, len(listing))
        _warn_of_tags_without_points(listing, labels)


def _joined(given: Points, found: Artifact[Cues], class_count: int) -> Cues:
    return as_cues(given, class_count) if len(given.classes) else found.find(given.image)


def _warn_of_tags_without_points(listing: Artifact[ImageRecord], labels: Artifact[Points]) -> None:
    tagged = [set(np.flatnonzero(row)) for row in all_tags(listing)]
    given = [set(labels.find(image).classes) for image in listing.ids]
    missing = sum(len(tags - classes) for tags, classes in zip(tagged, given, strict=True) if classes)
    if missing:
        log.warning("%d tags of images with points have no point, and so no cue; set one for each object", missing)


if __name__ == "__main__":
    step.run(join_points)
