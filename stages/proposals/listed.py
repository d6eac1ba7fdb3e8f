"""The images that proposals are imported for, and where they are kept."""

from dataclasses import dataclass

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Artifact


@dataclass(frozen=True)
class Listed:
    """All images of a split, so that names can be told apart.

    Attributes:
        kind: of the data set.
        paths: file of each image by its id, relative to the folder of the images; its id where it is on no disk.
    """

    kind: str
    paths: dict[str, str]


def listed_images(images: Artifact[ImageRecord]) -> Listed:
    """The images of a list."""
    pairs = zip(images.ids, images.column("path"), strict=True)
    return Listed(images.header["kind"], {image: str(path) or image for image, path in pairs})
