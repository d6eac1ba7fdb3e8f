"""The official code's settings on a tiny network."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from stages.bestie.settings import BestieSettings
from stages.project.overlays import merged
from tests.bestie.toy import TINY

GROUPING: dict[str, Any] = {"window": 41, "cluster_exclusive": True, "cluster_distance": 100.0}
OFFICIAL: dict[str, Any] = merged(
    copy.deepcopy(TINY),
    {
        "transfer": {"cue_threshold": 0.7, "written_scores": True, "min_area": 50},
        "train": {
            "backbone": {"stages": [1, 2, 3], "frozen_stages": 0, "norm": "train"},
            "network": {
                "head_channels": [16, 12, 8], "decoder_channels": [16, 12], "aspp_channels": [12, 8],
                "aspp_rates": [2, 3], "aspp_dropout": 0.5, "semantic_low_channels": [8, 4],
                "instance_low_channels": [6, 4], "initial_std": 0.001, "norm_momentum": 0.01,
            },
            "min_area": 50,
            "refinement": {"min_area": 50, "grouping": GROUPING},
            "losses": {"hard_pixel_share": 0.2},
            "data": {
                "contrast": 0.5, "hue": 36.0, "longer_side": 97, "side_step": 32, "interpolation": "opencv", "scales": [0.7, 1.0, 1.3],
                "accepted_on": "crop", "sigma": 6.0,
            },
        },
        "predict": {"rescale_offsets": False, "flip": False, "min_area": 50, "grouping": GROUPING},
    },
)  # fmt: skip


@pytest.fixture(scope="session")
def official() -> Callable[..., BestieSettings]:
    """The official code's settings on a tiny network, with overrides as nested dicts."""

    def settings(**overrides: Any) -> BestieSettings:
        return BestieSettings.model_validate(merged(OFFICIAL, overrides))

    return settings
