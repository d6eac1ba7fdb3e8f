"""images.h5: the pictures of a split and their image-level tags. No annotation of an instance is in here."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text


@dataclasses.dataclass(frozen=True, eq=False)
class Picture(Record):
    """One picture and its tags.

    The header holds `name` of the data set, `kind`, `split`, `root` (folder of the pictures), `classes` (names, without
    background), `category_ids` (official ids, for export) and `untagged` (number of pictures without a tag).
    """

    KIND: ClassVar[str] = "images"
    SCHEMA: ClassVar[int] = 1

    picture: str = text("id of the picture, unique in the data set")
    path: str = text("file relative to the header's root; empty when the picture is embedded")
    encoded: np.ndarray = array("uint8", "bytes", about="the encoded picture where it is on no disk, else empty")
    height: int = array("int32", about="height in pixels, after EXIF orientation")
    width: int = array("int32", about="width in pixels, after EXIF orientation")
    file_size: int = array("int64", about="size of the encoded picture in bytes")
    digest: str = text("SHA-256 of the encoded picture, hexadecimal")
    tags: np.ndarray = array("bool", "classes", about="which classes the picture is tagged with; all false: untagged")
