"""Names and numbers that other programs know images and classes by."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Artifact
from stages.exports.maps import LARGEST_BYTE, voc_palette

OFFICIAL = "coco"  # kind of data set whose image ids are official ones
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)


def has_official_ids(images: Artifact[ImageRecord]) -> bool:
    """Whether the images' ids are the numbers of a COCO JSON, and not text."""
    return images.header["kind"] == OFFICIAL and all(NUMBER.fullmatch(image) for image in images.ids)


def image_numbers(images: Artifact[ImageRecord], ids: list[str]) -> dict[str, int]:
    """COCO image id of each image: the official one where there is one, else 1, 2, ... in the order of `ids`."""
    if has_official_ids(images):
        return {image: int(image) for image in ids}
    return {image: number for number, image in enumerate(ids, start=1)}


def file_names(images: Artifact[ImageRecord]) -> Callable[[ImageRecord], str]:
    """A function from an image to its file name for other programs.

    Own images (kind folder): the path in their folder. Data sets: the path in the folder that holds all images of
    the split, which is what their own annotations say. Embedded images: <id>.png, as no file has them.
    """
    paths = [path for path in images.column("path") if path]
    shared: tuple[str, ...] = ()
    if paths and images.header["kind"] != "folder":
        shared = _common([PurePosixPath(path).parent.parts for path in paths])

    def name(image: ImageRecord) -> str:
        if not image.path:
            return f"{image.image}.png"
        return PurePosixPath(*PurePosixPath(image.path).parts[len(shared) :]).as_posix()

    return name


def categories(header: dict[str, Any]) -> list[dict[str, Any]]:
    """COCO's list of categories, with official ids where the data set has them."""
    pairs = zip(header["category_ids"], header["classes"], strict=True)
    return [{"id": number, "name": name, "supercategory": ""} for number, name in pairs]


def decimal(score: np.float32) -> float:
    """The shortest decimal that is this score in 32 bits."""
    return float(str(score))


def class_colours(count: int) -> list[str]:
    """A colour of each class, #rrggbb: VOC's, which begin again after 255 classes."""
    palette = voc_palette()[1 + np.arange(count) % LARGEST_BYTE]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in palette.tolist()]


def _common(folders: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Parts that all paths begin with."""
    lowest, highest = min(folders), max(folders)
    length = next((i for i, (a, b) in enumerate(zip(lowest, highest, strict=False)) if a != b), None)
    return lowest[: min(len(lowest), len(highest)) if length is None else length]
