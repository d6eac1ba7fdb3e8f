"""Settings of a tiny source of semantic maps, and a small data set of coloured rectangles on images of odd sizes."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.semantics.settings import NetworkSource

CRF = {
    "iterations": 3, "smooth_sxy": 3.0, "smooth_compat": 3.0, "colour_sxy": 20.0, "colour_srgb": 5.0,
    "colour_compat": 10.0,
}  # fmt: skip
TINY: dict[str, Any] = {
    "kind": "network",
    "cues": "cam",
    "starts_from": None,
    "labels": {
        "fg_threshold": 0.3, "bg_threshold": 0.05, "gt_prob": 0.7, "longer_side": None, "crf": CRF,
    },
    "agreement": None,
    "train": {
        "seed": 3,
        "backbone": {
            "name": "resnet10t", "output_stride": 16, "stage": 2, "weights": "none", "frozen_stages": 1,
            "norm": "frozen", "dilated_pool": "drop", "mean": None, "std": None,
        },
        "head": {
            "rates": [1, 2], "image_pooling": True, "channels": 8, "low_stage": 1, "low_channels": 4, "dropout": 0.1,
        },
        "data": {
            "longer_side": None, "scales": [0.75, 1.0], "crop": 48, "flip": 0.5, "brightness": 0.2, "contrast": 0.2,
            "batch": 2,
        },
        "training": {
            "steps": 4, "accumulate": 2, "reduction": "mean", "optimizer": "sgd", "learning_rate": 1e-2,
            "momentum": 0.9, "nesterov": False, "betas": [0.9, 0.999], "weight_decay": 1e-4, "bias_lr_mult": 1.0,
            "bias_decay": True, "norm_decay": True, "lr_mult": {},
            "schedule": {"kind": "polynomial", "drops": [], "factor": 0.1, "power": 0.9},
            "warmup_steps": 1, "warmup_factor": 0.333, "scale_momentum_at_drops": False, "clip_gradient_norm": None,
            "ema_decay": 0.0, "precision": "32", "prefetch": 0, "checkpoint_minutes": 60.0, "curve_steps": 2,
        },
    },
    "predict": {
        "longer_side": None, "scales": [1.0], "flip": True, "tagged_on": ["train"], "crf": {**CRF, "iterations": 0},
    },
}  # fmt: skip
CLASSES = ["cat", "dog", "hen"]
HEADERS: dict[type, dict[str, Any]] = {
    ImageRecord: {
        "name": "toy",
        "kind": "folder",
        "split": "train",
        "root": "",
        "negatives": 0,
        "unknown": 1,
        "category_ids": [1, 2, 3],
    },
    Cues: {"head": "cam", "supervision": "image tags"},
    SemanticMaps: {"source": "cam", "supervision": "image tags"},
}


def merged(base: Any, override: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(override, dict):
        return override
    return {**base, **{key: merged(base.get(key), value) for key, value in override.items()}}


@pytest.fixture(scope="session")
def tiny() -> Callable[..., NetworkSource]:
    """The tiny settings, with overrides as nested dicts."""

    def settings(**overrides: Any) -> NetworkSource:
        return NetworkSource.model_validate(merged(TINY, overrides))

    return settings


def image_record(name: str, rgb: np.ndarray, tags: Any, *, looked_at: bool = False) -> ImageRecord:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="PNG")
    encoded = np.frombuffer(buffer.getvalue(), np.uint8)
    return ImageRecord(
        image=name, path="", encoded=encoded, height=rgb.shape[0], width=rgb.shape[1], file_size=encoded.size,
        digest="", tags=np.array(tags, bool), looked_at=looked_at or any(tags),
    )  # fmt: skip


def cues_record(name: str, responses: np.ndarray, scores: Any) -> Cues:
    return Cues(
        image=name, responses=responses.astype(np.float32), class_scores=np.array(scores, np.float32),
        peaks=np.zeros((0, 2), np.int32), peak_classes=np.zeros(0, np.int32), peak_scores=np.zeros(0, np.float32),
    )  # fmt: skip


def write(path: Path, kind: type, records: list[Any], /, **header: Any) -> Path:
    provenance = Provenance(step="test", settings=None, seed=None, inputs={})
    with create(
        path, kind, header={"classes": CLASSES, **HEADERS.get(kind, {}), **header}, provenance=provenance
    ) as writer:
        for record in records:
            writer.append(record)
    return path


def maps_in(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and maps by image."""
    with read(path, SemanticMaps) as maps:
        return maps.header, {record.image: record.labels for record in maps}


class Toy:
    """Four images: a dark background with one bright rectangle of the first tag's colour; the last has no tag."""

    ids = ("p0", "p1", "p2", "p3")
    sizes = ((50, 70), (61, 43), (48, 48), (37, 53))
    tags = ((1, 0, 0), (0, 1, 0), (1, 0, 1), (0, 0, 0))
    sides = ((10, 35, 15, 50), (12, 45, 8, 30), (8, 40, 10, 38), (5, 20, 5, 20))
    colours = (0, 1, 0, 2)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = [self._image(i) for i in range(4)]
        self.cues = [self._cues(i) for i in range(4)]
        self.maps = [SemanticMaps(image=self.ids[i], labels=self.ground_truth(i)) for i in range(4)]
        self.images = write(folder / "images.h5", ImageRecord, self.records)
        self.test_images = write(folder / "test.h5", ImageRecord, self.records, split="val")
        self.cues_file = write(folder / "cues.h5", Cues, self.cues)
        self.labels = write(folder / "labels.h5", SemanticMaps, self.maps)

    def ground_truth(self, i: int) -> np.ndarray:
        """The rectangle's class; nothing is known of the image without tags."""
        if not any(self.tags[i]):
            return np.full(self.sizes[i], 255, np.uint8)
        labels = np.zeros(self.sizes[i], np.uint8)
        y0, y1, x0, x1 = self.sides[i]
        labels[y0:y1, x0:x1] = 1 + self.colours[i]
        return labels

    def rgb(self, i: int) -> np.ndarray:
        rgb = np.random.default_rng(i).integers(60, 70, (*self.sizes[i], 3)).astype(np.uint8)
        y0, y1, x0, x1 = self.sides[i]
        rgb[y0:y1, x0:x1, self.colours[i]] = 220
        return rgb

    def negative(self, folder: Path) -> Path:
        """The images, of which the one without tags is known to show none of the classes."""
        records = [image_record(self.ids[i], self.rgb(i), self.tags[i], looked_at=True) for i in range(4)]
        return write(folder / "negative.h5", ImageRecord, records, negatives=1, unknown=0)

    def _image(self, i: int) -> ImageRecord:
        return image_record(self.ids[i], self.rgb(i), self.tags[i])

    def _cues(self, i: int) -> Cues:
        responses = np.full((3, 8, 8), -1.0)
        y0, y1, x0, x1 = self.sides[i]
        mask = np.zeros(self.sizes[i], np.float32)
        mask[y0:y1, x0:x1] = 1
        responses[self.colours[i]] = 5 * cv2.resize(mask, (8, 8), interpolation=cv2.INTER_AREA) - 1
        return cues_record(self.ids[i], responses, [2.0 if k == self.colours[i] else -2.0 for k in range(3)])


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"))
