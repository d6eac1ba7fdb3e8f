"""Settings of the generator and small lists of images for the tests of this stage."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Provenance, create
from stages.proposals.settings import HegSettings, RankingWeights

RANKING = {
    "agreement": 0.5, "contour": 2.0, "inside": 1.0, "border": 1.0, "area": 0.35, "area_enough": 0.2, "roundness": 0.5,
}  # fmt: skip
HEG = {
    "kind": "heg", "count": 1000, "longer_side": 640, "base_scale": 40.0, "base_sigma": 0.8, "base_min_size": 40,
    "edge_sigmas": [1.0, 2.0, 4.0], "spaces": ["lab", "hsv"],
    "criteria": ["contrast", "compact", "colour_size_fill", "size_fill"], "seeds": 150, "levels": 6, "border_pull": 0.5,
    "order_power": 6.0, "order_share": 0.5, "step_cost": 0.02, "min_area": 0.0005, "max_area": 0.95, "overlap": 0.8,
}  # fmt: skip


@pytest.fixture
def heg_settings() -> Callable[..., HegSettings]:
    """Settings of the generator with some keys changed."""

    def make(**changes: object) -> HegSettings:
        ranking = RankingWeights(**{**RANKING, **changes.pop("ranking", {})})
        return HegSettings(**{**HEG, **changes, "ranking": ranking})

    return make


@pytest.fixture
def image_list(tmp_path: Path) -> Callable[..., Path]:
    """Writes images.h5 of images given as id -> (H, W, 3) uint8."""

    def write(images: dict[str, np.ndarray], name: str = "images.h5") -> Path:
        header = {
            "name": "test", "kind": "folder", "split": "train", "root": "", "classes": ["thing"], "category_ids": [1],
            "negatives": 0, "unknown": 0,
        }  # fmt: skip
        path = tmp_path / name
        with create(path, ImageRecord, header=header, provenance=Provenance("list_images", None, None, {})) as writer:
            for image, rgb in images.items():
                encoded = cv2.imencode(".png", rgb[..., ::-1])[1].reshape(-1)
                height, width = rgb.shape[:2]
                writer.append(
                    ImageRecord(
                        image=image, path="", encoded=encoded, height=np.int32(height), width=np.int32(width),
                        file_size=np.int64(len(encoded)), digest="", tags=np.ones(1, bool), looked_at=True,
                    )
                )  # fmt: skip
        return path

    return write


@pytest.fixture
def scene() -> Callable[[int], np.ndarray]:
    """A 60 x 80 image of two flat objects on a noisy background, different for each seed."""

    def draw(seed: int) -> np.ndarray:
        generator = np.random.default_rng(seed)
        rgb = generator.integers(90, 110, (60, 80, 3), dtype=np.uint8)
        cv2.circle(rgb, (20 + seed, 25), 14, (220, 40, 40), -1)
        cv2.rectangle(rgb, (48, 20), (70, 52), (30, 60, 200), -1)
        return rgb

    return draw
