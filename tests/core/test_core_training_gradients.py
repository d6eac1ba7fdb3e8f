"""Parts of a network that no loss uses in a pass: gradients of zeros, on one device and on several."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.core.networks.weights import read_weights
from stages.core.training.gradients import JoinedOutputs
from stages.core.training.loop import TrainingOutputs, train
from stages.core.training.settings import TrainingSettings

SETTINGS = {
    "steps": 6, "accumulate": 2, "reduction": "mean", "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9,
    "nesterov": False, "betas": [0.9, 0.999], "weight_decay": 0.1, "bias_lr_mult": 1.0, "bias_decay": True,
    "norm_decay": True, "lr_mult": {}, "schedule": {"kind": "step", "drops": [], "factor": 0.1, "power": 0.9},
    "warmup_steps": 0, "warmup_factor": 0.3, "scale_momentum_at_drops": False, "clip_gradient_norm": None,
    "ema_decay": 0.0, "precision": "32", "prefetch": 0, "checkpoint_minutes": 60.0, "curve_steps": 5,
}  # fmt: skip


class Outputs(NamedTuple):
    plain: Tensor
    branches: list[dict[str, Tensor]]
    size: int


class Branches(nn.Module):
    """A trunk and three heads; outputs in every kind of container."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Linear(3, 4)
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Outputs:
        first, *others = (head(self.trunk(x).relu()) for head in self.heads)
        return Outputs(first, [{"score": other, "input": x} for other in others], len(x))


class SomeHeads:
    """Pass `micro` of an update uses the heads listed for it; without any its only term is a constant."""

    def __init__(self, used: list[list[int]]) -> None:
        self.network, self.used = Branches(), used

    def batch(self, step, micro, generator):
        return {"x": torch.from_numpy(generator.normal(size=(8, 3)).astype(np.float32)), "used": self.used[micro]}

    def losses(self, batch, generator):
        outputs = self.network(batch["x"])
        scores = [outputs.plain, *(branch["score"] for branch in outputs.branches)]
        wanted = batch["x"].sum(1, keepdim=True)
        terms = {f"head_{i}": (scores[i] - wanted).square().mean() for i in batch["used"]}
        return terms or {"nothing": torch.zeros(())}


def fit(folder: Path, used: list[list[int]], **changes) -> dict[str, Tensor]:
    outputs = TrainingOutputs(folder / "w.safetensors", folder / "c.json", folder / "c.png")
    arguments = {"folder": folder / "checkpoint", "identity": "a", "seed": 7, "device": "cpu", "outputs": outputs}
    return train(SomeHeads(used), TrainingSettings(**{**SETTINGS, **changes}), **arguments).state_dict()


def gradients(used: list[int], *, joined: bool) -> dict[str, Tensor | None]:
    task = SomeHeads([used])
    join = JoinedOutputs(task.network) if joined else None
    losses = task.losses(task.batch(0, 0, np.random.default_rng(0)), None)
    (join.total(losses) if joined else sum(losses.values())).backward()
    return {name: parameter.grad for name, parameter in task.network.named_parameters()}


@pytest.mark.parametrize("used", [[0], [1, 2], [0, 1, 2]])
def test_a_part_without_a_loss_has_a_gradient_of_zeros_and_the_others_keep_theirs(used):
    plain, joined = (gradients(used, joined=joined) for joined in (False, True))
    for name, gradient in joined.items():
        expected = torch.zeros_like(gradient) if plain[name] is None else plain[name]
        assert torch.equal(gradient, expected), name
    assert sum(gradient is None for gradient in plain.values()) == 2 * (3 - len(used))


def test_a_pass_whose_terms_are_constants_gives_zeros_to_all():
    assert all(not gradient.any() for gradient in gradients([], joined=True).values())


def test_outputs_stay_what_they_are_and_the_join_can_be_undone():
    x, network = torch.ones(2, 3), Branches()
    plain = network(x)
    join = JoinedOutputs(network)
    joined = network(x)
    assert isinstance(joined, Outputs) and joined.size == 2
    assert torch.equal(joined.plain, plain.plain)
    assert joined.branches[1]["input"] is x  # without a gradient, so left alone
    assert torch.equal(joined.branches[1]["score"], plain.branches[1]["score"])
    with torch.no_grad():
        assert not network(x).plain.requires_grad
    join.remove()
    assert "Identity" not in str(network(x).plain.grad_fn)


def test_a_part_that_is_never_used_decays_as_any_other(tmp_path):
    found = fit(tmp_path, [[0], [0, 1]], momentum=0.0)
    start = Branches().state_dict()
    shrunk = (1 - 0.05 * 0.1) ** 6
    torch.testing.assert_close(found["heads.2.weight"], shrunk * start["heads.2.weight"])


def test_a_training_goes_on_through_passes_without_any_loss(tmp_path):
    half, full = (fit(tmp_path / name, used, weight_decay=0.0) for name, used in (("a", [[0], []]), ("b", [[0], [0]])))
    assert not torch.equal(half["trunk.weight"], full["trunk.weight"])
    assert all(tensor.isfinite().all() for tensor in half.values())


USED = {"other parts": [[0], [1, 2]], "no part in one process": [[0], []]}  # by the processes' passes


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """A folder of trainings by two processes, of which each uses other parts; gloo on CPUs, as torchrun starts them."""
    folder = tmp_path_factory.mktemp("gradients")
    script = folder / "toy_training.py"
    script.write_text(
        "import pathlib, sys\n"
        "from tests.core.test_core_training_gradients import USED, fit\n"
        "for name, used in USED.items():\n"
        "    fit(pathlib.Path(sys.argv[1]) / name, used)\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(script), str(folder)], cwd=Path(__file__).parents[2], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", USED)
def test_two_processes_train_the_network_of_one(tmp_path, shared, name):
    one, two = fit(tmp_path, USED[name]), read_weights(shared / name / "w.safetensors")
    for parameter, tensor in one.items():
        torch.testing.assert_close(two[parameter], tensor, rtol=1e-5, atol=1e-6)
