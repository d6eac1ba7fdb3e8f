"""Names and numbers that other programs know pictures and classes by."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from stages.core.artifacts.images import Picture
from stages.core.artifacts.storage import Artifact

OFFICIAL = "coco"  # kind of data set whose picture ids are official numbers


def has_official_ids(images: Artifact[Picture]) -> bool:
    """Whether the pictures' ids are those of a COCO JSON."""
    return images.header["kind"] == OFFICIAL


def image_numbers(images: Artifact[Picture], pictures: list[str]) -> dict[str, int]:
    """COCO image id of each picture: the official one where there is one, else 1, 2, ... in the order of `pictures`."""
    if has_official_ids(images):
        return {picture: int(picture) for picture in pictures}
    return {picture: number for number, picture in enumerate(pictures, start=1)}


def file_names(images: Artifact[Picture]) -> Callable[[Picture], str]:
    """A function from a picture to its file name for other programs.

    Own pictures (kind folder): the path in their folder. Data sets: the path in the folder that holds all pictures of
    the split, which is what their own annotations say. Embedded pictures: <id>.png, as no file has them.
    """
    paths = [path for path in images.column("path") if path]
    shared: tuple[str, ...] = ()
    if paths and images.header["kind"] != "folder":
        shared = _common([PurePosixPath(path).parent.parts for path in paths])

    def name(picture: Picture) -> str:
        if not picture.path:
            return f"{picture.picture}.png"
        return PurePosixPath(*PurePosixPath(picture.path).parts[len(shared) :]).as_posix()

    return name


def categories(header: dict[str, Any]) -> list[dict[str, Any]]:
    """COCO's list of categories, with official ids where the data set has them."""
    pairs = zip(header["category_ids"], header["classes"], strict=True)
    return [{"id": number, "name": name, "supercategory": ""} for number, name in pairs]


def decimal(score: np.float32) -> float:
    """The shortest decimal that is this score in 32 bits."""
    return float(str(score))


def _common(folders: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Parts that all paths begin with."""
    lowest, highest = min(folders), max(folders)
    length = next((i for i, (a, b) in enumerate(zip(lowest, highest, strict=False)) if a != b), None)
    return lowest[: min(len(lowest), len(highest)) if length is None else length]
