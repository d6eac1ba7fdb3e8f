"""What a training that goes astray leaves, and weights that hold NaN: docs/reliability.md, "Degenerate inputs"."""

import json

import pytest
import torch
from torch import nn

from stages.core.networks.weights import load_weights, read_weights, save_tensors, save_weights
from stages.core.workflow.digest import ROOT
from tests.core.test_core_training import Toy, fit

STEADY = {"optimizer": "sgd", "momentum": 0.0, "warmup_steps": 0, "weight_decay": 0.0}


def test_a_learning_rate_of_a_million_stops_sgd_and_says_what_to_do(tmp_path):
    with pytest.raises(FloatingPointError, match=r"the loss of update \d+ is not finite.*lower the learning rate"):
        fit(tmp_path, **STEADY, learning_rate=1e6, steps=30)
    assert not (tmp_path / "w.safetensors").exists()


def test_a_learning_rate_of_a_million_leaves_adamw_finite_weights_and_a_curve_that_tells(tmp_path):
    """Adam's step is as long as its rate, however long the gradient: nothing overflows, and nothing is learnt."""
    fit(tmp_path, **STEADY | {"optimizer": "adamw"}, learning_rate=1e6, steps=10)
    assert all(tensor.isfinite().all() for tensor in read_weights(tmp_path / "w.safetensors").values())
    points = json.loads((tmp_path / "c.json").read_text())["intervals"]
    assert points[-1]["losses"]["square"] > 1e6


class Rooted(Toy):
    """Its loss is zero, and the gradient of its loss is infinity times zero."""

    def losses(self, batch, generator):
        return {"root": (0 * self.network(batch["x"])).abs().sqrt().mean()}


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_network_that_the_last_update_breaks_is_not_written(tmp_path, ema_decay):
    """No update comes after it, whose loss would tell."""
    message = r"after update 1, the last, \d+ tensors of the network hold numbers that are not finite, such as \['"
    with pytest.raises(FloatingPointError, match=message + ".*lower the learning rate"):
        fit(tmp_path, Rooted(), **STEADY | {"ema_decay": ema_decay}, learning_rate=0.1, steps=1)
    assert not (tmp_path / "w.safetensors").exists()
    assert not (tmp_path / "checkpoint" / "checkpoint.pt").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    network = nn.Sequential(nn.Linear(5, 16), nn.Linear(16, 2))
    with torch.no_grad():
        network[1].weight[0, 3] = value
    save_weights(tmp_path / "w.safetensors", network, {})
    message = (
        r"w\.safetensors holds numbers that are not finite in 1 of 4 tensors, such as \['1\.weight'\]; .*train again"
    )
    with pytest.raises(ValueError, match=message):
        load_weights(tmp_path / "w.safetensors", network)


def test_only_what_is_read_is_looked_at_and_whole_numbers_are_finite(tmp_path):
    tensors = {"a.x": torch.ones(2), "a.n": torch.arange(3), "b.x": torch.full((2,), torch.nan)}
    save_tensors(tmp_path / "w.safetensors", tensors, {})
    assert sorted(read_weights(tmp_path / "w.safetensors", start="a.")) == ["n", "x"]


def test_every_network_is_read_by_the_function_that_refuses_them():
    """One place holds for all methods; the lens shows what is in a file, broken or not."""
    openers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "stages").rglob("*.py")
        if "safe_open" in path.read_text() or "safetensors.torch" in path.read_text()
    }
    assert openers == {"stages/core/networks/weights.py", "stages/inspection/lens/weights.py"}
