"""Settings of the official code, random regions, and a small data set for the tests of CIM."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.cim.settings import CimSettings
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create
from stages.ops.regions import Regions

CRF = {
    "iterations": 0, "smooth_sxy": 3.0, "smooth_compat": 3.0, "colour_sxy": 20.0, "colour_srgb": 5.0,
    "colour_compat": 10.0,
}  # fmt: skip
OFFICIAL: dict[str, Any] = {
    "agpl": {
        "votes": "equal", "response_share": 0.3, "response_power": 2.0, "support_threshold": 0.7, "iou_threshold": 0.5,
    },
    "train": {
        "seed": 3,
        "pseudo_labels": "agpl",
        "backbone": {
            "name": "mobilenetv2_035", "output_stride": 16, "stage": 2, "weights": "none", "frozen_stages": 1,
            "norm": "frozen", "dilated_pool": "drop", "mean": None, "std": None,
        },
        "network": {
            "crop_size": 7, "sampling_ratio": 0, "reduced_channels": None, "fc_widths": [12, 8], "branches": 3,
            "integrity_heads": True,
        },
        "inputs": {"interpolation": "opencv", "inclusive_clip": True, "inclusive_flip": True},
        "mining": {
            "strategy": "cim", "seed_share": 0.1, "nms_threshold": 0.25, "class_threshold": 0.25,
            "integrity_threshold": 0.5, "cascade_step": 0.1, "containment_threshold": 0.85, "big_share": 0.9,
            "sampling": True, "foreground_at_threshold": True, "one_class": True, "half_precision_maps": True,
        },
        "losses": {
            "mil": 1.0, "cluster": 12.0, "classification": 1.0, "integrity": 3.0, "refinement_mil": 1.0,
            "first_branch": 3.0, "cluster_form": "full_bce", "probability_floor": 1e-6,
        },
        "data": {
            "longer_sides": [48, 64], "flip": True, "max_proposals": None, "proposal_choice": "best",
            "cache_features": False, "memory_gb": 0.0,
        },
        "training": {
            "steps": 6, "accumulate": 2, "reduction": "sum", "optimizer": "sgd", "learning_rate": 1e-3, "momentum": 0.9,
            "nesterov": False, "betas": [0.9, 0.999], "weight_decay": 5e-4, "bias_lr_mult": 2.0,
            "bias_decay": False, "norm_decay": True, "lr_mult": {},
            "schedule": {"kind": "step", "drops": [4], "factor": 0.1, "power": 0.9},
            "warmup_steps": 2, "warmup_factor": 0.333, "scale_momentum_at_drops": True, "clip_gradient_norm": None,
            "ema_decay": 0.0, "precision": "32", "prefetch": 0, "checkpoint_minutes": 60.0, "curve_steps": 3,
        },
    },
    "predict": {
        "longer_sides": [48, 64], "flip": True, "rank_scale": None, "vote_overlap": None,
        "prior_share": 0.0, "crf": CRF, "crf_instances": 5, "map_weight": 0.0, "map_power": 0.0, "best_power": 0.0,
        "score_threshold": 1e-5, "nms": "boxes", "nms_threshold": 0.3,
        "nms_inclusive": True, "top_k": 100, "max_proposals": None, "proposal_chunk": 5, "use_tags": False,
    },
}  # fmt: skip
CLASSES = ["cat", "dog", "hen"]
SIZE = (40, 56)


def merged(base: Any, override: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(override, dict):
        return override
    return {**base, **{key: merged(base[key], value) for key, value in override.items()}}


@pytest.fixture(scope="session")
def official() -> Callable[..., CimSettings]:
    """The official code's settings on a tiny network, with overrides as nested dicts."""

    def settings(**overrides: Any) -> CimSettings:
        return CimSettings.model_validate(merged(OFFICIAL, overrides))

    return settings


def random_masks(rng: np.random.Generator, count: int, size: tuple[int, int] = (12, 16)) -> np.ndarray:
    """Masks (N, H, W) of rectangles and of unions of two, none empty; many contain or equal one another."""
    masks = np.zeros((count, *size), bool)
    for mask in masks:
        for _ in range(rng.integers(1, 3)):
            y, x = rng.integers(0, size[0] - 2), rng.integers(0, size[1] - 2)
            mask[y : y + rng.integers(2, size[0]), x : x + rng.integers(2, size[1])] = True
    return masks


@pytest.fixture(scope="session")
def masks_of() -> Callable[..., np.ndarray]:
    return random_masks


def write_artifact(path: Path, record_class: type, records: list[Any], **header: Any) -> Path:
    provenance = Provenance(step="test", settings=None, seed=None, inputs={})
    with create(path, record_class, header={"classes": CLASSES, **header}, provenance=provenance) as writer:
        for record in records:
            writer.append(record)
    return path


class Toy:
    """Six images, one without tags, one without proposals and one with a single one."""

    counts = (18, 15, 0, 1, 12, 16)
    tags = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 1]], bool)

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(5)
        self.folder = folder
        self.ids = [f"p{i}" for i in range(len(self.counts))]
        self.masks = [random_masks(rng, count, SIZE) for count in self.counts]
        self.rgb = [rng.integers(0, 256, (*SIZE, 3), np.uint8) for _ in self.ids]
        self.images = self.listed("images.h5", looked_at=False)
        self.proposals = write_artifact(
            folder / "proposals.h5", Proposals, [self._proposals(i) for i in range(len(self.ids))],
            source="test", supervision="label-free",
        )  # fmt: skip
        self.cues = self.write_cues("cues.h5", supervision="image tags")

    def listed(self, name: str, *, looked_at: bool) -> Path:
        """The images; `looked_at` says whether the one without tags is known to show none of the classes."""
        images = [self._image(i, looked_at=looked_at) for i in range(len(self.ids))]
        return write_artifact(
            self.folder / name, ImageRecord, images, name="toy", kind="folder", split="train", root="",
            category_ids=[1, 2, 3], negatives=int(looked_at), unknown=int(not looked_at),
        )  # fmt: skip

    def write_cues(self, name: str, *, classes: list[str] | None = None, supervision: str) -> Path:
        rng = np.random.default_rng(6)
        records = [self._cues(image, rng) for image in self.ids]
        header = {"head": "prm", "supervision": supervision, **({"classes": classes} if classes else {})}
        return write_artifact(self.folder / name, Cues, records, **header)

    def _image(self, i: int, *, looked_at: bool) -> ImageRecord:
        buffer = io.BytesIO()
        Image.fromarray(self.rgb[i]).save(buffer, format="PNG")
        encoded = np.frombuffer(buffer.getvalue(), np.uint8)
        return ImageRecord(
            image=self.ids[i], path="", encoded=encoded, height=SIZE[0], width=SIZE[1], file_size=encoded.size,
            digest="", tags=self.tags[i], looked_at=looked_at or self.tags[i].any(),
        )  # fmt: skip

    def _proposals(self, i: int) -> Proposals:
        scores = np.linspace(1, 0, self.counts[i], dtype=np.float32)
        return Proposals(image=self.ids[i], **packed_fields(Regions.from_masks(self.masks[i])), scores=scores)

    def _cues(self, image: str, rng: np.random.Generator) -> Cues:
        peaks = np.stack([rng.integers(0, SIZE[0], 7), rng.integers(0, SIZE[1], 7)], axis=1).astype(np.int32)
        return Cues(
            image=image, responses=rng.normal(0, 5, (3, 3, 4)).astype(np.float32),
            class_scores=rng.normal(0, 3, 3).astype(np.float32), peaks=peaks,
            peak_classes=np.sort(rng.integers(0, 3, 7)).astype(np.int32),
            peak_scores=rng.uniform(5, 20, 7).astype(np.float32),
        )  # fmt: skip


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"))
