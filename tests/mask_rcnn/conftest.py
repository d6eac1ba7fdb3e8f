"""Settings of a tiny Mask R-CNN, and a small data set of coloured rectangles with predictions."""

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
from stages.mask_rcnn.settings import MaskRcnnSettings
from stages.ops.regions import Regions

TINY: dict[str, Any] = {
    "pseudo_masks": {
        "tagged_only": True, "score_threshold": 0.3, "overlap_threshold": None, "overlap_between": "class",
        "keep_best": False, "empty": "drop", "drop_marked": [],
    },
    "train": {
        "seed": 3,
        "loss_weights": "ones",
        "backbone": {
            "name": "resnet10t", "stages": [1, 2], "weights": "none", "frozen_stages": 1, "norm": "frozen",
            "mean": None, "std": None,
        },
        "network": {
            "pyramid_channels": 8, "anchor_sizes": [[16], [32], [48]], "anchor_ratios": [0.5, 1.0, 2.0],
            "rpn_nms_threshold": 0.7, "canonical_size": 64, "sampling_ratio": 2, "box_bins": 5, "box_width": 16,
            "mask_bins": 7, "mask_channels": [8, 8],
        },
        "sampling": {
            "rpn_foreground": 0.7, "rpn_background": 0.3, "rpn_anchors": 64, "rpn_foreground_share": 0.5,
            "rpn_before_nms": 60, "rpn_after_nms": 30, "box_foreground": 0.5, "box_background": 0.5, "boxes": 24,
            "box_foreground_share": 0.25,
        },
        "losses": {"objectness": 1.0, "rpn_box": 1.0, "classifier": 1.0, "box": 1.0, "mask": 1.0},
        "data": {"shorter_sides": [48, 64], "longest_side": 96, "flip": 0.5, "batch": 2},
        "training": {
            "steps": 4, "accumulate": 2, "reduction": "mean", "optimizer": "sgd", "learning_rate": 1e-3,
            "momentum": 0.9, "nesterov": False, "betas": [0.9, 0.999], "weight_decay": 1e-4, "bias_lr_mult": 1.0,
            "bias_decay": True, "norm_decay": True, "lr_mult": {},
            "schedule": {"kind": "step", "drops": [3], "factor": 0.1, "power": 0.9},
            "warmup_steps": 1, "warmup_factor": 0.333, "scale_momentum_at_drops": False, "clip_gradient_norm": None,
            "ema_decay": 0.0, "precision": "32", "prefetch": 0, "checkpoint_minutes": 60.0, "curve_steps": 2,
        },
    },
    "predict": {
        "shorter_side": 64, "longest_side": 96, "flip": True, "rpn_before_nms": 60, "rpn_after_nms": 30,
        "score_threshold": 0.05, "nms_threshold": 0.5, "top_k": 9, "mask_threshold": 0.5,
        "crf": {
            "iterations": 0, "smooth_sxy": 3.0, "smooth_compat": 3.0, "colour_sxy": 20.0, "colour_srgb": 5.0,
            "colour_compat": 10.0,
        },
        "crf_instances": 2, "maskness_power": 0.0, "semantics": None, "map_weight": 0.0, "map_power": 0.0, "best_power": 0.0,
    },
}  # fmt: skip
CLASSES = ["cat", "dog", "hen"]
SIZE = (50, 70)


def merged(base: Any, override: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(override, dict):
        return override
    return {**base, **{key: merged(base.get(key), value) for key, value in override.items()}}


@pytest.fixture(scope="session")
def tiny() -> Callable[..., MaskRcnnSettings]:
    """The tiny settings, with overrides as nested dicts."""

    def settings(**overrides: Any) -> MaskRcnnSettings:
        return MaskRcnnSettings.model_validate(merged(TINY, overrides))

    return settings


def rectangles(*sides: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Masks (N, H, W) of rectangles (y0, y1, x0, x1)."""
    masks = np.zeros((len(sides), *size), bool)
    for mask, (y0, y1, x0, x1) in zip(masks, sides, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def predictions(image: str, sides: Any = (), classes: Any = (), scores: Any = (), size: Any = SIZE) -> Instances:
    return Instances(
        image=image, **packed_fields(Regions.from_masks(rectangles(*sides, size=size))),
        classes=np.array(classes, np.int32), scores=np.array(scores, np.float32),
    )  # fmt: skip


class Toy:
    """Five images: p0 and p1 with predictions, p2 with weak ones alone, p3 with none, p4 without tags."""

    tags = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    sides = (
        [(5, 30, 8, 30), (20, 45, 35, 65)],
        [(2, 20, 2, 25), (25, 48, 30, 60), (3, 21, 2, 25)],
        [(10, 40, 10, 50)],
        [],
        [(10, 40, 10, 50)],
    )
    classes = ([0, 0], [0, 1, 2], [1], [], [1])
    scores = ([0.9, 0.6], [0.8, 0.5, 0.4], [0.2], [], [0.9])

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ids = [f"p{i}" for i in range(len(self.sides))]
        self.images = self.listed("images", looked_at=False)
        self.instances = self.write("instances", Instances, self.records(), **PREDICTED)

    def listed(self, file: str, *, looked_at: bool) -> Path:
        """The images; `looked_at` says whether the one without tags is known to show none of the classes."""
        images = [self._image(i, looked_at=looked_at) for i in range(len(self.ids))]
        return self.write(file, ImageRecord, images, **IMAGES)

    def records(self) -> list[Instances]:
        return [predictions(*row) for row in zip(self.ids, self.sides, self.classes, self.scores, strict=True)]

    def write(self, file: str, kind: type, records: list[Any], /, **header: Any) -> Path:
        path = self.folder / f"{file}.h5"
        provenance = Provenance(step="test", settings=None, seed=None, inputs={})
        header = {"classes": CLASSES, "category_ids": [1, 2, 3], **header}
        with create(path, kind, header=header, provenance=provenance) as writer:
            for record in records:
                writer.append(record)
        return path

    def _image(self, i: int, *, looked_at: bool) -> ImageRecord:
        rgb = np.random.default_rng(i).integers(60, 90, (*SIZE, 3)).astype(np.uint8)
        for mask, label in zip(rectangles(*self.sides[i]), self.classes[i], strict=True):
            rgb[mask, label] = 220
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, format="PNG")
        encoded = np.frombuffer(buffer.getvalue(), np.uint8)
        return ImageRecord(
            image=self.ids[i], path="", encoded=encoded, height=SIZE[0], width=SIZE[1], file_size=encoded.size,
            digest="", tags=self.tags[i], looked_at=looked_at or self.tags[i].any(),
        )  # fmt: skip


IMAGES = {"name": "toy", "kind": "folder", "split": "train", "root": "", "negatives": 0, "unknown": 1}
PREDICTED = {"run": "cim", "method": "cim", "supervision": "image tags"}


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"))
