"""Boxes as the annotators gave them, beside any masks: VOC's XML and COCO's JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

import numpy as np

from stages.images.coco_json import CocoJson
from stages.images.settings import ChosenImages, CocoSettings, CocoSplit, VocSettings
from stages.images.voc import find_year, is_difficult, named_objects

CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Boxes:
    """Annotated boxes of one image.

    Attributes:
        boxes: (objects, 4) float32 (x0, y0, x1, y1), half-open, in pixels.
        classes: (objects,) int32, index into the data set's classes.
        crowd: (objects,) bool, the box covers a crowd.
        difficult: (objects,) bool, marked difficult or to be ignored by the annotators.
    """

    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray


class BoxFiles(Protocol):
    """Annotated boxes of one split."""

    def boxes(self, image: str, height: int, width: int) -> Boxes | None:
        """The boxes of an image of this size in pixels, None where the files have none for it.

        Raises ValueError where they are damaged.
        """


def make_boxes(objects: list[tuple[list[float], int, bool, bool]]) -> Boxes:
    """Boxes from (corners, class, crowd, difficult) of each object; none are welcome."""
    corners, classes, crowd, difficult = zip(*objects, strict=True) if objects else ((), (), (), ())
    return Boxes(
        boxes=np.array(corners, np.float32).reshape(-1, 4),
        classes=np.array(classes, np.int32),
        crowd=np.array(crowd, bool),
        difficult=np.array(difficult, bool),
    )


class VocBoxes:
    """Boxes of Annotations/<image>.xml; None where there is no such file (SBD alone)."""

    def __init__(self, settings: ChosenImages, split: str, classes: list[str]) -> None:
        """Find the data; every split has its boxes in one folder."""
        assert isinstance(settings.block, VocSettings)
        self._folder = find_year(Path(settings.block.root)) / "Annotations"
        self._index = {name: i for i, name in enumerate(classes)}

    def boxes(self, image: str, height: int, width: int) -> Boxes | None:
        """The image's objects of the selected classes, in the order of the file."""
        path = self._folder / f"{image}.xml"
        if not path.is_file():
            return None
        objects = [(name, found) for name, found in named_objects(path) if name in self._index]
        return make_boxes(
            [(_corners(found, path), self._index[name], False, is_difficult(found)) for name, found in objects]
        )


def _corners(found: ElementTree.Element, path: Path) -> list[float]:
    """Half-open corners from 0 of VOC's, which count from 1 and name the last pixel. Some have fractions."""
    texts = [found.findtext(f"bndbox/{corner}") for corner in CORNERS]
    try:
        x0, y0, x1, y1 = (float(text) for text in texts if text is not None)
    except ValueError as error:
        raise ValueError(
            f"{path} has a bndbox {texts}, expected four numbers {', '.join(CORNERS)}; restore it"
        ) from error
    if x1 < x0 or y1 < y0:
        raise ValueError(f"{path} has a bndbox {texts} that ends before it starts; mend it")
    return [x0 - 1, y0 - 1, x1, y1]


class CocoBoxes:
    """Boxes of the annotations of a JSON in COCO's format."""

    def __init__(self, settings: ChosenImages, split: str, classes: list[str]) -> None:
        """Read the split's JSON. Raises FileNotFoundError or ValueError naming what is wrong with it."""
        block, files = settings.block, settings.split(split)
        assert isinstance(block, CocoSettings)
        assert isinstance(files, CocoSplit)
        self._json = CocoJson(Path(block.root) / files.annotations)
        index = {name: i for i, name in enumerate(classes)}
        self._index = {number: index.get(name) for number, name in self._json.categories.items()}

    def boxes(self, image: str, height: int, width: int) -> Boxes | None:
        """The image's annotations of the selected classes, in file order; None where one has no bbox."""
        annotations = self._json.annotations(image)
        if annotations is None:
            return None
        kept = [(a, self._json.box(a, height, width), self._index[number]) for a, number in annotations]
        kept = [(a, corners, index) for a, corners, index in kept if index is not None]
        if any(corners is None for _, corners, _ in kept):
            return None
        return make_boxes([(corners, index, a.crowd, a.ignore) for a, corners, index in kept])
