"""Settings of a tiny BESTIE, and a small data set of coloured rectangles with semantic maps and cues."""

import copy
import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.bestie.settings import BestieSettings
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create
from stages.project.overlays import merged

GROUPING = {
    "center_threshold": 0.3, "window": 5, "clustering": True, "cluster_magnitude": 2.5, "cluster_area": 21,
    "cluster_tolerance": 3, "cluster_exclusive": True, "cluster_threshold": 0.05, "cluster_distance": 10.0,
}  # fmt: skip
TINY: dict[str, Any] = {
    "transfer": {"cue_threshold": 0.5, "written_scores": False, "min_area": 20},
    "iteration": {"score_threshold": 0.3, "min_area": 20},
    "train": {
        "seed": 3,
        "backbone": {
            "name": "resnet10t", "stages": [1, 2], "weights": "none", "frozen_stages": 1, "norm": "frozen",
            "mean": None, "std": None,
        },
        "network": {
            "kind": "panoptic_deeplab", "head_channels": [8, 8, 8], "decoder_channels": [8, 8],
            "aspp_channels": [8, 8], "aspp_rates": [2], "aspp_dropout": 0.1, "semantic_low_channels": [8],
            "instance_low_channels": [8], "initial_std": 0.02, "norm_momentum": 0.1,
        },
        "min_area": 20,
        "refinement": {
            "enabled": True, "first_step": 0, "min_area": 20, "max_instances": 5, "weight": "center_and_class",
            "grouping": GROUPING,
        },
        "losses": {
            "semantic": 1.0, "center": 200.0, "offset": 0.01, "pseudo_share": 0.5, "refined_share": 0.5,
            "hard_pixel_share": 0.5, "guidance": True,
        },
        "data": {
            "brightness": 16.0, "contrast": 0.3, "hue": 10.0, "longer_side": 70, "side_step": 1, "interpolation": "area",
            "scales": [0.8, 1.0, 1.2], "crop": 64, "flip": 0.5, "accepted_on": "image", "sigma": 3.0, "batch": 2,
        },
        "training": {
            "steps": 4, "accumulate": 2, "reduction": "mean", "optimizer": "adam", "learning_rate": 1e-3,
            "momentum": 0.0, "nesterov": False, "betas": [0.9, 0.999], "weight_decay": 0.0, "bias_lr_mult": 1.0,
            "bias_decay": True, "norm_decay": True, "lr_mult": {},
            "schedule": {"kind": "polynomial", "drops": [], "factor": 0.1, "power": 0.9},
            "warmup_steps": 1, "warmup_factor": 0.1, "scale_momentum_at_drops": False, "clip_gradient_norm": None,
            "ema_decay": 0.0, "precision": "32", "prefetch": 0, "checkpoint_minutes": 60.0, "curve_steps": 2,
        },
        "snapshots": [],
    },
    "predict": {
        "longer_side": None, "scales": [1.0], "side_step": 32, "interpolation": "area",
        "rescale_offsets": True, "flip": True, "min_area": 20,
        "keep_without_center": True, "score": "center_and_class", "use_tags": False, "use_points": False,
        "top_k": None, "semantics": None, "map_weight": 0.0, "map_power": 0.0, "best_power": 0.0,
        "crf": {
            "iterations": 0, "smooth_sxy": 3.0, "smooth_compat": 3.0, "colour_sxy": 50.0, "colour_srgb": 10.0,
            "colour_compat": 10.0,
        },
        "grouping": GROUPING | {"center_threshold": 0.1}, "kept_side": 40,
    },
}  # fmt: skip
CLASSES = ["cat", "dog", "hen"]
SIZE = (50, 70)


def tiny(**overrides: Any) -> BestieSettings:
    """The tiny settings, with overrides as nested dicts."""
    return BestieSettings.model_validate(merged(copy.deepcopy(TINY), overrides))


def rectangles(*sides: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Masks (N, H, W) of rectangles (y0, y1, x0, x1)."""
    masks = np.zeros((len(sides), *size), bool)
    for mask, (y0, y1, x0, x1) in zip(masks, sides, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def write(path: Path, kind: type, records: list[Any], /, **header: Any) -> Path:
    provenance = Provenance(step="test", settings=None, seed=None, inputs={})
    with create(path, kind, header={"classes": CLASSES, **header}, provenance=provenance) as writer:
        for record in records:
            writer.append(record)
    return path


class Toy:
    """Four images.

    p0: a cat with one cue and a cat with two; p1: a dog with one cue, a small cat; p2: a hen that no cue names; p3 has
    no tags, though there is a cat in its map.
    """

    tags = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    sides = (
        [(5, 30, 8, 30), (20, 45, 40, 65)],
        [(2, 30, 2, 30), (40, 43, 50, 53)],
        [(10, 40, 10, 50)],
        [(9, 40, 9, 50)],
    )
    classes = ([0, 0], [1, 0], [2], [0])
    points = ([(10, 10), (25, 45), (40, 60)], [(10, 10), (41, 51)], [(20, 20)], [(20, 20)])
    point_classes = ([0, 0, 0], [1, 0], [1], [0])
    point_scores = ([0.9, 0.8, 0.6], [0.7, 0.9], [0.9], [0.9])

    def __init__(self, folder: Path) -> None:
        self.folder, self.ids = folder, [f"p{i}" for i in range(len(self.sides))]
        self.images = self.listed("images.h5", looked_at=False)
        self.semantics = self.maps(folder / "semantics.h5")
        self.cues = self.cue_file(folder / "cues.h5")

    def listed(self, name: str, *, looked_at: bool) -> Path:
        """The images; `looked_at` says whether the one without tags is known to show none of the classes."""
        images = [self.image(i, looked_at=looked_at) for i in range(len(self.ids))]
        return write(
            self.folder / name, ImageRecord, images, name="toy", kind="folder", split="train", root="",
            negatives=int(looked_at), unknown=int(not looked_at), category_ids=[1, 2, 3],
        )  # fmt: skip

    def maps(self, path: Path, *, size: tuple[int, int] = SIZE, **header: Any) -> Path:
        records = [SemanticMaps(image=self.ids[i], labels=self.labels(i, size)) for i in range(len(self.ids))]
        return write(path, SemanticMaps, records, **{"source": "cam", "supervision": "image tags", **header})

    def cue_file(self, path: Path, *, by_points: Collection[int] = (), **header: Any) -> Path:
        """Cues of a classifier, or as of people in all images where the head is points, else in some."""
        everywhere = header.get("head") == "points"
        records = [self.cue_record(i, by_points=everywhere or i in by_points) for i in range(len(self.ids))]
        return write(path, Cues, records, **{"head": "pam", "supervision": "image tags", **header})

    def labels(self, i: int, size: tuple[int, int] = SIZE) -> np.ndarray:
        labels = np.zeros(size, np.uint8)
        for mask, label in zip(rectangles(*self.sides[i], size=size), self.classes[i], strict=True):
            labels[mask] = 1 + label
        return labels

    def cue_record(self, i: int, *, by_points: bool = False) -> Cues:
        rows = 0 if by_points else 1  # points have no response maps
        return Cues(
            image=self.ids[i], responses=np.zeros((3, rows, rows), np.float32), class_scores=np.zeros(3, np.float32),
            peaks=np.array(self.points[i], np.int32), peak_classes=np.array(self.point_classes[i], np.int32),
            peak_scores=np.array(self.point_scores[i], np.float32),
        )  # fmt: skip

    def image(self, i: int, *, looked_at: bool = False) -> ImageRecord:
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
