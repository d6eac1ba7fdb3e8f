"""Checks of the artifacts that BESTIE's steps read, and what is read from them in more than one step."""

import numpy as np

from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.images import check_classes as check_same
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Artifact

SECTIONS = {
    "transfer_semantics": "bestie.transfer",
    "iterate_instances": "bestie.iteration",
}  # of the steps that accept
POINTS = "points"  # cues of point supervision, as pseudo instances name them


def check_classes(images: Artifact[ImageRecord], *others: Artifact) -> None:
    """Raise ValueError unless all artifacts are of the images' classes."""
    for other in others:
        check_same(images, other, remedy="make both from the same list of images")


def map_of(maps: Artifact[SemanticMaps], images: Artifact[ImageRecord], i: int) -> np.ndarray:
    """Semantic map (H, W) uint8 of image i; of one that shows none of the classes it is background, whatever it says.

    Raises ValueError where it has another size than the image.
    """
    labels = maps.find(images.ids[i]).labels
    size = int(images.field(i, "height")), int(images.field(i, "width"))
    if labels.shape != size:
        raise ValueError(
            f"{maps.path}: {images.ids[i]!r} has a map of {labels.shape} (height, width), {images.path} says"
            f" {size}; remake the maps from this list of images"
        )
    return np.zeros_like(labels) if is_negative(images, i) else labels


def is_negative(images: Artifact[ImageRecord], i: int) -> bool:
    """Whether image i is known to show none of the classes."""
    return bool(images.field(i, "looked_at") and not images.field(i, "tags").any())


def check_points(cues: Artifact[Cues], images: Artifact[ImageRecord]) -> None:
    """Raise ValueError unless the cues are points, of which some have a class that their image is tagged with.

    Raises KeyError where they lack an image.
    """
    if cues.header["head"] != POINTS:
        raise ValueError(
            f"{cues.path} holds cues of {cues.header['head']!r}, not points; give cues/points.h5, or set"
            " bestie.predict.use_points: false"
        )
    tags = [images.field(i, "tags") for i in range(len(images))]
    classes = [cues.field(cues.index(image), "peak_classes") for image in images.ids]
    if len(images) and not any(tagged[given].any() for tagged, given in zip(tags, classes, strict=True)):
        raise ValueError(
            f"{cues.path}: no image has a point of a class that it is tagged with ({sum(map(len, classes))} points and"
            f" {int(np.sum(tags))} tags of {len(images)} images), so there is nothing to group to; list the images with"
            " both (images.<kind>), or set bestie.predict.use_points: false"
        )


def check_anything_accepted(pseudo: Artifact[PseudoInstances]) -> None:
    """Raise ValueError where there is no pseudo instance to train on."""
    if any(len(pseudo.field(i, "classes")) for i in range(len(pseudo))):
        return
    candidates = int(pseudo.column("candidates").sum())
    cues = sum(len(pseudo.field(i, "point_scores")) for i in range(len(pseudo)))
    section = SECTIONS.get(pseudo.provenance["step"], "its settings")
    raise ValueError(
        f"{pseudo.path}: none of {candidates} candidates is accepted as an instance, by {cues} cues that count: there "
        f"is nothing to learn from; change {section} or what it reads"
    )


def check_size(record: PseudoInstances, size: tuple[int, int], pseudo: Artifact[PseudoInstances]) -> None:
    """Raise ValueError unless the pseudo instances have the size (height, width) of their image."""
    if record.labels.shape != size:
        raise ValueError(
            f"{pseudo.path}: {record.image!r} has a map of {record.labels.shape} (height, width), the image is "
            f"{size}; remake the pseudo instances from this list of images"
        )
