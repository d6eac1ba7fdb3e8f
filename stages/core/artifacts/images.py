"""images.h5: the images of a split and their image-level tags. No annotation of an instance is in here."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text
from stages.core.artifacts.storage import Artifact

SHOWN = 3  # images that a message names
TILES_KIND = "tiles"  # in the header of a list of tiles, whatever their images are of
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageRecord(Record):
    """One image and its tags.

    The header holds `name` of the data set, `kind`, `split`, `root` (folder of the images), `classes` (names, without
    background), `category_ids` (official ids, for export), `negatives` (number of images that are known to show none of
    the classes) and `unknown` (number of images of which nothing is known).

    Of a list of tiles `kind` is "tiles", and the id of a tile is that of its image, followed by @<y>_<x>.
    """

    KIND: ClassVar[str] = "images"
    SCHEMA: ClassVar[int] = 3

    image: str = text(about="id of the image, unique in the data set")
    path: str = text(about="file relative to the header's root; empty when the image is embedded")
    encoded: np.ndarray = array("uint8", "bytes", about="the encoded image where it is on no disk, else empty")
    height: int = array("int32", about="height in pixels, after EXIF orientation")
    width: int = array("int32", about="width in pixels, after EXIF orientation")
    file_size: int = array("int64", about="size of the encoded image in bytes")
    digest: str = text(about="SHA-256 of the encoded image, hexadecimal")
    tags: np.ndarray = array("bool", "classes", about="which classes the image is tagged with")
    looked_at: bool = array("bool", about="whether somebody looked: without a tag, the image shows none of the classes")
    offset: np.ndarray | None = array(
        "int32", 2, optional=True,
        about="(y, x) in pixels, where the tile begins in the image that it is cut from; absent: whole images",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Raises ValueError as `Record`, and for an image that is tagged although nobody looked."""
        super().__post_init__()
        if self.tags.any() and not self.looked_at:
            raise ValueError(f"image {self.image!r} has tags, but looked_at is false; nothing can be tagged unseen")

    @property
    def is_negative(self) -> bool:
        """Whether the image is known to show none of the classes."""
        return bool(self.looked_at and not self.tags.any())


def training_images(images: Artifact[ImageRecord]) -> list[int]:
    """Positions of the images that say something: tagged ones, and those that are known to show none of the classes.

    Classes that all of them show are warned of: nothing tells such a class from the background.
    Raises ValueError where no image is tagged.
    """
    tags, looked_at = all_tags(images), images.column("looked_at")
    if not tags.any():
        raise ValueError(
            f"{images.path}: none of {len(images)} images has tags; nothing to train on: tag images and list them again"
        )
    everywhere = np.flatnonzero(tags[looked_at].all(0))
    if len(everywhere):
        names = ", ".join(images.header["classes"][label] for label in everywhere)
        log.warning(
            "all %d images that are trained on show %s: tags alone cannot teach what is not part of it; list images "
            "without it, too",
            looked_at.sum(), names,
        )  # fmt: skip
    return np.flatnonzero(looked_at).tolist()


def log_training_images(images: Artifact[ImageRecord], usable: Sequence[int]) -> None:
    """Say in the log how many images a training uses (positions `usable`), and what tags say of them and the others."""
    used = np.isin(np.arange(len(images)), usable)
    tagged, looked_at = all_tags(images).any(1), images.column("looked_at")
    log.info(
        "trained on %d of %d images, of them %d without anything; %d images that nobody looked at are left out",
        used.sum(), len(images), (used & looked_at & ~tagged).sum(), (~used & ~looked_at).sum(),
    )  # fmt: skip


def check_classes(images: Artifact[ImageRecord], other: Artifact, *, remedy: str) -> None:
    """Raise ValueError, which ends with the remedy, unless an artifact holds the images' classes in their order."""
    expected, found = images.header["classes"], other.header["classes"]
    if found != expected:
        raise ValueError(f"{other.path} holds classes {found}, {images.path} holds {expected}; {remedy}")


def check_images(part: Artifact, whole: Artifact, *, remedy: str) -> None:
    """Raise ValueError, which ends with the remedy, where `part` has an image that `whole` lacks."""
    known = set(whole.ids)
    missing = [image for image in part.ids if image not in known]
    if missing:
        raise ValueError(
            f"{whole.path} lacks {len(missing)} of the {len(part)} images of {part.path}, such as "
            f"{', '.join(map(repr, missing[:SHOWN]))}; {remedy}"
        )


def all_tags(images: Artifact[ImageRecord]) -> np.ndarray:
    """Tags of all images, (images, classes) bool."""
    rows = [images.field(i, "tags") for i in range(len(images))]
    return np.array(rows, bool).reshape(len(rows), len(images.header["classes"]))
