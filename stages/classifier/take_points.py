"""Step: turns point labels into cues, for runs under point supervision."""

from pathlib import Path

import numpy as np

from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord, check_classes
from stages.core.artifacts.points import Points
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.workflow import step


def take_points(*, images: Path, points: Path, output: Path) -> None:
    """Write each image's points as peaks of score 1, in the order of their file (official CIM-p).

    There are no response maps (0 rows); a class's score is 1 where it has a point, else -1.
    Raises ValueError where the points are of other classes, KeyError where they lack an image.
    """
    with read(images, ImageRecord) as listing, read(points, Points) as labels:
        check_points(listing, labels)
        classes = listing.header["classes"]
        header = {"classes": classes, "head": "points", "supervision": "points"}
        made_by = Provenance("take_points", None, None, {"images": listing, "points": labels})
        with create(output, Cues, header=header, provenance=made_by) as writer:
            for image in listing.ids:
                writer.append(as_cues(labels.find(image), len(classes)))


def check_points(listing: Artifact[ImageRecord], labels: Artifact[Points]) -> None:
    """Raise ValueError where the points are of other classes than the images."""
    check_classes(listing, labels, remedy="list both again")


def as_cues(labels: Points, class_count: int) -> Cues:
    """One image's points as peaks of score 1; there are no response maps."""
    scores = np.full(class_count, -1, np.float32)
    scores[labels.classes] = 1
    return Cues(
        image=labels.image,
        responses=np.zeros((class_count, 0, 0), np.float32),
        class_scores=scores,
        peaks=labels.points,
        peak_classes=labels.classes,
        peak_scores=np.ones(len(labels.points), np.float32),
    )


if __name__ == "__main__":
    step.run(take_points)
