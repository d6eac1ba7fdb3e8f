import pytest
import torch
from pydantic import ValidationError
from torch import nn

from stages.core.training.parameter_groups import make_optimizer, parameter_groups
from stages.core.training.schedules import lr_factor, momentum_factor
from stages.core.training.settings import TrainingSettings

SETTINGS = {
    "steps": 100, "accumulate": 1, "reduction": "mean", "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9,
    "nesterov": False, "betas": [0.9, 0.999], "weight_decay": 5e-4, "bias_lr_mult": 2.0, "bias_decay": False,
    "norm_decay": True, "lr_mult": {}, "schedule": {"kind": "step", "drops": [], "factor": 0.1, "power": 0.9},
    "warmup_steps": 0, "warmup_factor": 1.0, "scale_momentum_at_drops": False, "clip_gradient_norm": None,
    "ema_decay": 0.0, "precision": "32", "prefetch": 0, "checkpoint_minutes": 60.0, "curve_steps": 5,
}  # fmt: skip
STEP = {"kind": "step", "drops": [50, 80], "factor": 0.1, "power": 0.9}
POLYNOMIAL = {"kind": "polynomial", "drops": [], "factor": 0.1, "power": 0.9}


def settings(**changes) -> TrainingSettings:
    return TrainingSettings(**{**SETTINGS, **changes})


@pytest.mark.parametrize(
    ("changes", "step", "factor"),
    [
        pytest.param({}, 99, 1.0, id="constant"),
        pytest.param({"schedule": STEP}, 49, 1.0, id="before the drop"),
        pytest.param({"schedule": STEP}, 50, 0.1, id="at the drop"),
        pytest.param({"schedule": STEP}, 80, 0.01, id="at the second drop"),
        pytest.param({"schedule": POLYNOMIAL}, 0, 1.0, id="polynomial begins at 1"),
        pytest.param({"schedule": POLYNOMIAL}, 75, 0.25**0.9, id="polynomial"),
        pytest.param({"warmup_steps": 10, "warmup_factor": 1 / 3}, 0, 1 / 3, id="warm-up begins at its factor"),
        pytest.param({"warmup_steps": 10, "warmup_factor": 1 / 3}, 5, 2 / 3, id="warm-up is linear"),
        pytest.param({"warmup_steps": 10, "warmup_factor": 1 / 3}, 10, 1.0, id="warm-up ends"),
        pytest.param(
            {"warmup_steps": 10, "warmup_factor": 0.5, "schedule": POLYNOMIAL},
            5,
            0.75 * 0.95**0.9,
            id="warm-up times schedule",
        ),
    ],
)
def test_rate_of_an_update(changes, step, factor):
    assert lr_factor(step, settings(**changes)) == pytest.approx(factor)


def test_official_cim_schedule_warms_up_500_updates_from_a_third_and_drops_at_30000():
    """Numbers of the official code: 500 updates from 1/3, a drop at 30000."""
    official = settings(steps=45000, warmup_steps=500, warmup_factor=1 / 3, schedule={**STEP, "drops": [30000]})
    assert [lr_factor(t, official) for t in (0, 250, 500, 29999, 30000)] == pytest.approx([1 / 3, 2 / 3, 1, 1, 0.1])


@pytest.mark.parametrize(("step", "factor"), [(49, 1.0), (50, 0.1), (51, 1.0), (80, 0.1)])
def test_momentum_shrinks_at_drops_only_when_set(step, factor):
    assert momentum_factor(step, settings(schedule=STEP, scale_momentum_at_drops=True)) == factor
    assert momentum_factor(step, settings(schedule=STEP)) == 1.0


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1, bias=False))
        self.head = nn.Linear(2, 1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"lr_mult": {"backbone": 0.01}},
            {
                "backbone.0.weight": (0.01, 5e-4), "backbone.0.bias": (0.02, 0.0), "backbone.1.weight": (0.01, 5e-4),
                "backbone.1.bias": (0.02, 0.0), "backbone.2.weight": (0.01, 5e-4), "head.weight": (1.0, 5e-4),
                "head.bias": (2.0, 0.0),
            },
            id="biases learn twice as fast and do not decay",
        ),
        pytest.param(
            {"norm_decay": False, "bias_decay": True, "bias_lr_mult": 1.0},
            {
                "backbone.0.weight": (1.0, 5e-4), "backbone.0.bias": (1.0, 5e-4), "backbone.1.weight": (1.0, 0.0),
                "backbone.1.bias": (1.0, 5e-4), "backbone.2.weight": (1.0, 5e-4), "head.weight": (1.0, 5e-4),
                "head.bias": (1.0, 5e-4),
            },
            id="norms do not decay",
        ),
        pytest.param(
            {"lr_mult": {"backbone": 0.01, "backbone.2": 0.5}, "bias_lr_mult": 1.0, "bias_decay": True},
            {
                "backbone.0.weight": (0.01, 5e-4), "backbone.0.bias": (0.01, 5e-4), "backbone.1.weight": (0.01, 5e-4),
                "backbone.1.bias": (0.01, 5e-4), "backbone.2.weight": (0.5, 5e-4), "head.weight": (1.0, 5e-4),
                "head.bias": (1.0, 5e-4),
            },
            id="the longest start of a name wins",
        ),
    ],
)  # fmt: skip
def test_rate_and_decay_of_each_parameter(changes, expected):
    groups = parameter_groups(Network(), settings(**changes))
    found = {name: (group["lr_mult"], group["weight_decay"]) for group in groups for name in group["names"]}
    assert found == {name: pytest.approx(pair) for name, pair in expected.items()}


def test_frozen_parameters_are_left_out():
    network = Network()
    network.backbone.requires_grad_(False)
    groups = parameter_groups(network, settings())
    assert sorted(name for group in groups for name in group["names"]) == ["head.bias", "head.weight"]


def test_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match="no parameter to train"):
        parameter_groups(Network().requires_grad_(False), settings())


def test_start_of_names_that_no_parameter_has_is_an_error():
    with pytest.raises(ValueError, match=r"'trunk'.*the network's parts are \['backbone', 'head'\]"):
        parameter_groups(Network(), settings(lr_mult={"trunk": 0.1}))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        pytest.param({"momentum": 0.9, "nesterov": True}, torch.optim.SGD, id="sgd"),
        pytest.param({"optimizer": "adam"}, torch.optim.Adam, id="adam"),
        pytest.param({"optimizer": "adamw"}, torch.optim.AdamW, id="adamw"),
    ],
)
def test_optimizer_of_the_settings(changes, kind):
    chosen = settings(**changes)
    optimizer = make_optimizer(parameter_groups(Network(), chosen), chosen)
    assert type(optimizer) is kind
    assert optimizer.defaults.get("nesterov", False) == chosen.nesterov


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"nesterov": True, "optimizer": "adam"}, "nesterov needs optimizer sgd", id="nesterov"),
        pytest.param(
            {"schedule": POLYNOMIAL, "scale_momentum_at_drops": True}, "needs .* a step schedule", id="momentum"
        ),
        pytest.param({"schedule": {**STEP, "drops": [3, 1]}}, "ascending order", id="drops"),
        pytest.param({"warmup": 3}, "Extra inputs", id="unknown key"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        settings(**changes)
