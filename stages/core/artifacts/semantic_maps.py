"""semantics/{source}.h5: what class each pixel of an image belongs to, by a weakly supervised source."""

import dataclasses
from typing import ClassVar, Protocol

import numpy as np

from stages.core.artifacts.images import ImageRecord, check_classes, check_images
from stages.core.artifacts.records import Record, array, text
from stages.core.artifacts.storage import Artifact

UNCERTAIN = 255  # pixels that are not decided: nothing is learnt from them
MAX_CLASSES = 254  # that fit one byte beside background and uncertain


@dataclasses.dataclass(frozen=True, eq=False)
class SemanticMaps(Record):
    """One image's semantic map.

    The header holds `classes` (without background), `source` and `supervision` ("image tags"; "masks" for annotated
    maps, or what an import says of itself).
    """

    KIND: ClassVar[str] = "semantic maps"
    SCHEMA: ClassVar[int] = 2

    image: str = text(about="id of the image")
    labels: np.ndarray = array(
        "uint8", "height", "width",
        about="0: background; 1 + k: class k; 255: uncertain; the size is that of the image",
    )  # fmt: skip


def check_maps(maps: Artifact[SemanticMaps], images: Artifact[ImageRecord]) -> None:
    """Raise ValueError unless the maps are of the images' classes and have every image."""
    check_classes(images, maps, remedy="remake the maps from this list of images")
    check_images(images, maps, remedy="remake the maps from this list of images")


class Leaning(Protocol):
    """Settings of a prediction whose masks and scores may lean on maps."""

    @property
    def map_weight(self) -> float:
        """How much masks do."""

    @property
    def map_power(self) -> float:
        """How much scores do."""

    @property
    def reads_maps(self) -> bool:
        """Whether any of them does."""


def check_given(maps: Artifact[SemanticMaps] | None, images: Artifact[ImageRecord], settings: Leaning) -> None:
    """As `check_maps` where maps are given. Raises ValueError where the settings read maps and none are given."""
    if maps is not None:
        check_maps(maps, images)
    elif settings.reads_maps:
        raise ValueError(
            f"map_weight is {settings.map_weight} and map_power {settings.map_power}, but no semantic maps are given;"
            " set both to 0, or give them"
        )


def labels_of(maps: Artifact[SemanticMaps], image: str, shape: tuple[int, int]) -> np.ndarray:
    """The map of an image, (H, W) uint8. Raises ValueError where it is not of `shape` (height, width)."""
    labels = maps.find(image).labels
    if labels.shape != shape:
        raise ValueError(
            f"{maps.path}: {image!r} has a map of {labels.shape} (height, width), expected {shape}; remake the maps"
            " from this list of images"
        )
    return labels
