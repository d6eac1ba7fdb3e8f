"""The released code's settings on a tiny network."""

from collections.abc import Callable
from typing import Any

import pytest

from stages.core.config.bestie import BestieSettings

GROUPING: dict[str, Any] = {
    "centre_threshold": 0.3, "window": 41, "clustering": True, "cluster_magnitude": 2.5, "cluster_area": 21,
    "cluster_tolerance": 3, "cluster_exclusive": True, "cluster_heat": 0.05, "cluster_distance": 100.0,
}  # fmt: skip
RELEASED: dict[str, Any] = {
    "transfer": {"cue_threshold": 0.7, "minimum_area": 50},
    "iteration": {"score_threshold": 0.3, "minimum_area": 50},
    "train": {
        "seed": 3,
        "backbone": {
            "name": "resnet10t", "stages": [1, 2, 3], "weights": "none", "frozen_stages": 0, "norm": "train",
        },
        "network": {
            "kind": "panoptic_deeplab", "head_channels": [16, 12, 8], "decoder_channels": [16, 12],
            "aspp_channels": [12, 8], "aspp_rates": [2, 3], "aspp_dropout": 0.5, "semantic_low_channels": [8, 4],
            "instance_low_channels": [6, 4], "initial_std": 0.001, "norm_momentum": 0.01,
        },
        "minimum_area": 50,
        "refinement": {
            "enabled": True, "first_step": 0, "minimum_area": 50, "most_instances": 5, "weight": "centre_and_class",
            "grouping": GROUPING,
        },
        "losses": {
            "semantic": 1.0, "centre": 200.0, "offset": 0.01, "pseudo_share": 0.5, "refined_share": 0.5,
            "hard_pixel_share": 0.2, "guidance": True,
        },
        "data": {
            "brightness": 16.0, "contrast": 0.5, "hue": 36.0, "longer_side": 97, "side_step": 32,
            "scales": [0.7, 1.0, 1.3], "crop": 64, "flip": 0.5, "accepted_on": "crop", "sigma": 6.0, "batch": 2,
        },
        "training": {
            "steps": 4, "accumulate": 1, "reduction": "mean", "optimizer": "adam", "learning_rate": 5e-5,
            "momentum": 0.9, "nesterov": False, "betas": [0.9, 0.999], "weight_decay": 0.0, "bias_rate_factor": 1.0,
            "bias_decay": True, "norm_decay": True, "rate_factors": {},
            "schedule": {"kind": "polynomial", "drops": [], "factor": 0.1, "power": 0.9},
            "warmup_steps": 2, "warmup_factor": 0.001, "scale_momentum_at_drops": False, "clip_gradient_norm": None,
            "average_decay": 0.0, "precision": "32", "prefetch": 0, "checkpoint_minutes": 60.0, "curve_steps": 2,
        },
        "snapshots": [],
    },
    "predict": {
        "longer_side": None, "side_step": 32, "rescale_offsets": False, "flip": False, "minimum_area": 50,
        "whole_components": True, "score": "centre_and_class", "use_tags": False, "top_k": None,
        "grouping": {**GROUPING, "centre_threshold": 0.1}, "kept_side": 40,
    },
}  # fmt: skip


def merged(base: Any, override: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(override, dict):
        return override
    return {**base, **{key: merged(base[key], value) for key, value in override.items()}}


@pytest.fixture(scope="session")
def released() -> Callable[..., BestieSettings]:
    """The released code's settings on a tiny network, with overrides as nested dicts."""

    def settings(**overrides: Any) -> BestieSettings:
        return BestieSettings.model_validate(merged(RELEASED, overrides))

    return settings
