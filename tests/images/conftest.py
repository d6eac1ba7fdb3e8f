"""Settings, small data sets and a listing for the tests of images."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.points import Points
from stages.core.artifacts.storage import read
from stages.images.list_images import list_images
from stages.images.settings import ImagesSettings

UNCUT = {"size": None, "overlap": 16, "min_share": 0.25}
SPLIT_FILES = {"images": None, "tags": None, "masks": None, "points": None}
BLOCKS: dict[str, Any] = {
    "name": "trial",
    "kind": "shapes",
    "classes": None,
    "untagged": "negative",
    "verify": "full",
    "sample": None,
    "max_pixels": 89478485,
    "shapes": {
        "splits": {"train": 6, "val": 3},
        "seed": 0,
        "height": 64,
        "width": 80,
        "forms": None,
        "min_objects": 2,
        "max_objects": 4,
        "max_classes": 2,
        "min_radius": 8.0,
        "max_radius": 12.0,
        "min_visible": 0.6,
        "colour_hint": 0.7,
        "texture_hint": 0.7,
        "object_contrast": 0.35,
        "background_contrast": 0.15,
        "noise": 5.0,
    },
    "voc": {
        "root": None,
        "image_sets": "Segmentation",
        "splits": {"train": "train", "val": "val"},
        "sbd": None,
        "difficult_tags": True,
        "points": None,
    },
    "coco": {
        "root": None,
        "splits": {"train": {"images": "train", "annotations": "train.json"}},
        "crowd_tags": True,
        "tiling": dict(UNCUT),
    },
    "folder": {
        "splits": {"train": dict(SPLIT_FILES), "val": dict(SPLIT_FILES)},
        "tags_format": "auto",
        "negative_folders": ["good"],
        "void_id": None,
        "tiling": dict(UNCUT),
    },
}


COMMON = ("classes", "untagged", "verify", "sample", "max_pixels")


def make_settings(kind: str, **keys: Any) -> ImagesSettings:
    """Settings of one kind; `keys` replaces keys of its block, or those that all kinds have."""
    common = {key: value for key, value in keys.items() if key in COMMON}
    block = {key: value for key, value in keys.items() if key not in COMMON}
    data = copy.deepcopy(BLOCKS) | {"kind": kind} | common
    data[kind] |= {key: str(value) if isinstance(value, Path) else value for key, value in block.items()}
    return ImagesSettings.model_validate(data)


@pytest.fixture
def settings_of() -> Callable[..., ImagesSettings]:
    return make_settings


def run_listing(folder: Path, kind: str, split: str = "train", **options: Any) -> tuple[Path, Path, Path]:
    """Run the step into `folder`; the three artifacts."""
    paths = folder / "images.h5", folder / "ground_truth.h5", folder / "points.h5"
    list_images(
        output_images=paths[0],
        output_ground_truth=paths[1],
        output_points=paths[2],
        settings=make_settings(kind, **options).chosen(split, "train"),
        split=split,
        threads=2,
    )
    return paths


@pytest.fixture
def listing(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[SimpleNamespace]]:
    """Run `list_images` and open its three artifacts: `with listing("voc", split="val", root=...) as made`."""

    @contextlib.contextmanager
    def run(kind: str, split: str = "train", **options: Any) -> Iterator[SimpleNamespace]:
        paths = run_listing(tmp_path / "made", kind, split, **options)
        with (
            read(paths[0], ImageRecord) as images,
            read(paths[1], GroundTruth) as ground_truth,
            read(paths[2], Points) as points,
        ):
            yield SimpleNamespace(images=images, ground_truth=ground_truth, points=points)

    return run


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Run `list_images` on bad input: it must stop with `message` and leave nothing behind; the whole message."""

    def run(message: str, kind: str, split: str = "train", **options: Any) -> str:
        folder = tmp_path / "refused"
        with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
            run_listing(folder, kind, split, **options)
        assert not folder.exists() or not list(folder.iterdir())
        return str(caught.value)

    return run


@pytest.fixture
def save() -> Callable[..., None]:
    """Write an array as an image, making its folder."""

    def write(path: Path, pixels: np.ndarray, **options: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)

    return write
