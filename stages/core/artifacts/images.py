"""images.h5: the images of a split and their image-level tags. No annotation of an instance is in here."""

import dataclasses
import logging
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text
from stages.core.artifacts.storage import Artifact

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


def tagged_images(images: Artifact[ImageRecord]) -> list[int]:
    """Positions of the images that have tags; the others are listed and counted in the log.

    Raises ValueError where none has.
    """
    usable = [i for i in range(len(images)) if images.field(i, "tags").any()]
    if not usable:
        raise ValueError(f"{images.path}: none of {len(images)} images has tags; nothing to train on")
    untagged = [images.ids[i] for i in sorted(set(range(len(images))) - set(usable))]
    if untagged:
        names = ", ".join(untagged)
        log.warning("%d of %d images without tags are not trained on: %s", len(untagged), len(images), names)
    return usable
