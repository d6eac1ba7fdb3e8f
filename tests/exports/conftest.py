"""A small split of images with predictions for the tests of exports."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create
from stages.exports.settings import CocoExportSettings, CocoFormSettings, SelectionSettings, YoloExportSettings
from stages.ops.regions import Regions

SIZE = (24, 32)
CLASSES = ["cat", "dog"]


def rectangle(y0: int, y1: int, x0: int, x1: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def ring() -> np.ndarray:
    """A square with a square hole, and in the hole an island."""
    return rectangle(2, 20, 3, 25) & ~rectangle(6, 15, 8, 20) | rectangle(9, 11, 11, 14)


def encoded(rgb: np.ndarray, kind: str, **options: Any) -> bytes:
    """An image (H, W, 3) uint8 as a file of a kind that Pillow writes."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format=kind, **options)
    return buffer.getvalue()


class Split:
    """Images in memory, and what is predicted for each: masks, classes, scores. A test changes what it needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kind, self.root, self.category_ids = "folder", "", [1, 2]
        self.paths: dict[str, str] = {"a": "", "b": "", "sub/c": ""}
        self.tags: dict[str, list[int]] = {"a": [0], "b": [0, 1], "sub/c": []}
        self.sizes = dict.fromkeys(self.paths, SIZE)
        self.classes = CLASSES
        self.files: dict[str, bytes] = {}  # of images on disk that are no plain PNG
        self.predicted: dict[str, tuple[list[np.ndarray], list[int], list[float]]] = {
            "a": ([ring(), rectangle(0, 12, 0, 16), rectangle(5, 24, 10, 32)], [0, 1, 1], [0.9, 0.5, 0.1]),
            "b": ([rectangle(0, 24, 0, 32)], [1], [0.25]),
            "sub/c": ([], [], []),
        }

    def write(self, **instances_header: Any) -> dict[str, Path]:
        """Write both artifacts; returns the arguments `images` and `instances` of every export."""
        header = {"classes": self.classes, "category_ids": self.category_ids}
        about = {"name": "toy", "kind": self.kind, "split": "val", "root": self.root}
        untagged = sum(not tags for tags in self.tags.values())
        images = [self._image(image) for image in self.paths]
        found = [self._instances(image) for image in self.predicted]
        made = {"run": "cim", "method": "cim", "supervision": "image tags"} | instances_header
        return {
            "images": self._artifact(
                "images", ImageRecord, images, header | about | {"negatives": 0, "unknown": untagged}
            ),
            "instances": self._artifact("instances", Instances, found, header | made),
        }

    def _artifact(self, name: str, kind: type, records: list[Any], header: dict[str, Any]) -> Path:
        path = self.folder / f"{name}.h5"
        made_by = Provenance(step="test", settings=None, seed=None, inputs={})
        with create(path, kind, header=header, provenance=made_by) as writer:
            for record in records:
                writer.append(record)
        return path

    def on_disk(self, paths: dict[str, str]) -> Path:
        """Give every image a file in a folder, which is returned; images are renamed to the keys."""
        root = self.folder / "all images"
        self.root = str(root)
        for old, new in zip(list(self.paths), paths, strict=True):
            for mapping in (self.tags, self.sizes, self.predicted):
                mapping[new] = mapping.pop(old)
        self.paths = paths
        for image, path in paths.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(self.encoded(image))
        return root

    def encoded(self, image: str) -> bytes:
        """The file of an image."""
        return self.files.get(image) or encoded(np.full((*self.sizes[image], 3), 90, np.uint8), "PNG")

    def _image(self, image: str) -> ImageRecord:
        data = np.frombuffer(self.encoded(image), np.uint8)
        height, width = self.sizes[image]
        return ImageRecord(
            image=image, path=self.paths[image], encoded=data[:0] if self.paths[image] else data, height=height,
            width=width, file_size=data.size, digest="", tags=np.isin(np.arange(len(self.classes)), self.tags[image]),
            looked_at=bool(self.tags[image]),
        )  # fmt: skip

    def _instances(self, image: str) -> Instances:
        masks, classes, scores = self.predicted[image]
        stacked = np.stack(masks) if masks else np.zeros((0, *self.sizes[image]), bool)
        return Instances(
            image=image,
            **packed_fields(Regions.from_masks(stacked)),
            classes=np.array(classes, np.int32),
            scores=np.array(scores, np.float32),
        )


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return Split(tmp_path)


@pytest.fixture(scope="session")
def selection() -> Callable[..., SelectionSettings]:
    """All instances, with overrides."""

    def make(**changes: Any) -> SelectionSettings:
        return SelectionSettings(**{"score_threshold": 0.0, "top_k": None, "tagged_only": False} | changes)

    return make


@pytest.fixture(scope="session")
def coco_form(selection: Callable[..., SelectionSettings]) -> Callable[..., CocoExportSettings]:
    """Settings of `export_coco` for all instances."""

    def make(segmentation: str = "rle", tolerance: float = 0.0, **changes: Any) -> CocoExportSettings:
        form = CocoFormSettings(segmentation=segmentation, polygon_tolerance=tolerance)
        return CocoExportSettings(selection=selection(**changes), form=form)

    return make


@pytest.fixture(scope="session")
def yolo_form(selection: Callable[..., SelectionSettings]) -> Callable[..., YoloExportSettings]:
    """Settings of `export_yolo` for all instances."""

    def make(parts: str = "join", images: str = "link", **changes: Any) -> YoloExportSettings:
        return YoloExportSettings(selection=selection(**changes), form={"parts": parts, "images": images})

    return make
