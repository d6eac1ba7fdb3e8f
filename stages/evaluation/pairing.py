"""Checks that artifacts which are compared speak of the same images and classes."""

from collections.abc import Iterator

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import check_images
from stages.core.artifacts.storage import Artifact


def check_same_classes(first: Artifact, second: Artifact) -> list[str]:
    """The class names that both artifacts have. Raises ValueError naming both files where they differ."""
    ours, theirs = first.header["classes"], second.header["classes"]
    if ours != theirs:
        raise ValueError(
            f"{first.path} has the classes {ours}, but {second.path} has {theirs}; they must be equal and in one "
            "order: make both from the same images.h5"
        )
    return ours


def check_listed(part: Artifact, whole: Artifact) -> None:
    """Raise ValueError where `part` has an image that `whole` lacks."""
    check_images(part, whole, remedy="make both from the same split's images.h5")


def check_same_images(first: Artifact, second: Artifact) -> None:
    """Raise ValueError where one artifact has an image that the other lacks; their order may differ."""
    check_listed(first, second)
    check_listed(second, first)


def annotated_images(ground_truth: Artifact[GroundTruth] | Artifact[AnnotatedBoxes]) -> list[str]:
    """Ids of the images whose masks (or boxes) are known, in the order of the file; the others do not count."""
    known = ground_truth.column("annotated")
    return [image for image, annotated in zip(ground_truth.ids, known, strict=True) if annotated]


def ground_truths(ground_truth: Artifact[GroundTruth]) -> Iterator[GroundTruth]:
    """The records of the images whose masks are known."""
    return (ground_truth.find(image) for image in annotated_images(ground_truth))
