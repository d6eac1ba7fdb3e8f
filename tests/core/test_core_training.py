import json
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stages.core.networks.weights import load_weights, read_metadata, read_weights, save_weights
from stages.core.training.checkpoints import find_checkpoint, save_checkpoint
from stages.core.training.folder import settle
from stages.core.training.identity import training_identity
from stages.core.training.loop import TrainingOutputs, train
from stages.core.training.settings import TrainingSettings
from stages.core.training.snapshots import keep_snapshot, load_snapshot

SETTINGS = {
    "steps": 12, "accumulate": 2, "reduction": "sum", "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9,
    "nesterov": False, "betas": [0.9, 0.999], "weight_decay": 1e-3, "bias_lr_mult": 2.0, "bias_decay": False,
    "norm_decay": True, "lr_mult": {}, "schedule": {"kind": "step", "drops": [8], "factor": 0.1, "power": 0.9},
    "warmup_steps": 3, "warmup_factor": 0.3, "scale_momentum_at_drops": False, "clip_gradient_norm": None,
    "ema_decay": 0.0, "precision": "32", "prefetch": 0, "checkpoint_minutes": 60.0, "curve_steps": 5,
}  # fmt: skip


class Toy:
    """Regression with dropout and batch norm: every kind of randomness and state that a resume must bring back."""

    def __init__(self, *, poison_at: int | None = None, die_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
        self.poison_at, self.die_at, self.steps = poison_at, die_at, []

    def batch(self, step, micro, generator):
        self.steps.append((step, micro))
        if step == self.die_at:
            raise KeyboardInterrupt
        x = torch.from_numpy(generator.normal(size=(8, 5)).astype(np.float32))
        return {"x": x, "step": step}

    def losses(self, batch, generator):
        y = batch["x"].sum(1, keepdim=True) + float(generator.normal()) * 0.01
        square = (self.network(batch["x"]) - y).square().mean()
        return {"square": square * (float("nan") if batch["step"] == self.poison_at else 1.0), "zero": 0 * square}


def settings(**changes) -> TrainingSettings:
    return TrainingSettings(**{**SETTINGS, **changes})


def fit(folder: Path, task=None, *, identity="a", snapshots=None, **changes) -> dict[str, torch.Tensor]:
    joined = None if snapshots is None else folder / "s.safetensors"
    outputs = TrainingOutputs(folder / "w.safetensors", folder / "c.json", folder / "c.png", {"head": "toy"}, joined)
    arguments = {"folder": folder / "checkpoint", "identity": identity, "seed": 7, "device": "cpu", "outputs": outputs}
    arguments["snapshots"] = snapshots or ()
    return train(task or Toy(), settings(**changes), **arguments).state_dict()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.draws
def test_training_learns_and_writes_weights_curves_and_plot_and_keeps_the_last_checkpoint(tmp_path):
    trained = fit(
        tmp_path, steps=200, learning_rate=0.005, checkpoint_minutes=1e-4,
        schedule={**SETTINGS["schedule"], "kind": "polynomial"},
    )  # fmt: skip
    points = json.loads((tmp_path / "c.json").read_text())["intervals"]
    assert [point["step"] for point in points] == list(range(5, 201, 5))
    assert points[-1]["losses"]["square"] < 0.4 * points[0]["losses"]["square"]
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert names(tmp_path / "checkpoint") == {"checkpoint.pt", "finished.json"}
    again = Toy().network
    assert load_weights(tmp_path / "w.safetensors", again) == {"head": "toy"}
    assert_equal(again.state_dict(), trained)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="sgd"),
        pytest.param(
            {"optimizer": "adamw", "learning_rate": 0.01, "schedule": {**SETTINGS["schedule"], "kind": "polynomial"}},
            id="adamw",
        ),
        pytest.param({"ema_decay": 0.9}, id="average"),
        pytest.param({"prefetch": 3}, id="prefetch"),
        pytest.param({"scale_momentum_at_drops": True, "clip_gradient_norm": 1.0}, id="momentum and clipping"),
    ],
)
def test_interrupted_training_gives_the_network_of_an_undisturbed_one_bit_for_bit(tmp_path, changes):
    undisturbed = fit(tmp_path / "whole", **changes)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", Toy(die_at=6), checkpoint_minutes=1e-9, **changes)
    assert (tmp_path / "cut" / "checkpoint" / "checkpoint.pt").is_file()
    task = Toy()
    assert_equal(fit(tmp_path / "cut", task, **changes), undisturbed)
    assert task.steps[0] > (0, 0)
    curves = [json.loads((tmp_path / name / "c.json").read_text())["intervals"] for name in ("whole", "cut")]
    losses = [[(point["step"], point["losses"], point["rate"]) for point in points] for points in curves]
    assert losses[0] == losses[1]


def test_killed_process_resumes_to_the_undisturbed_network(tmp_path):
    script = textwrap.dedent(f"""
        import importlib.util, os, signal, sys
        from pathlib import Path
        spec = importlib.util.spec_from_file_location("toy", {str(Path(__file__))!r})
        toy = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(toy)
        class Killed(toy.Toy):
            def batch(self, step, micro, generator):
                if (step, micro) == (7, 1):
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().batch(step, micro, generator)
        toy.fit(Path(sys.argv[1]), Killed(), checkpoint_minutes=1e-9)
    """)
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cut")], cwd=Path(__file__).parents[2], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "cut" / "w.safetensors").exists()
    task = Toy()
    assert_equal(fit(tmp_path / "cut", task), fit(tmp_path / "whole"))
    assert task.steps[0] == (7, 0)


def test_checkpoint_of_other_settings_is_set_aside_and_not_used(tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, Toy(die_at=9), checkpoint_minutes=1e-9, identity="old")
    task = Toy()
    assert_equal(fit(tmp_path, task, identity="new"), fit(tmp_path / "whole"))
    assert task.steps[0] == (0, 0)
    assert "set aside" in caplog.text
    assert len(list((tmp_path / "checkpoint").glob("checkpoint.*.pt"))) == 1


def test_identity_of_a_training_is_what_its_network_depends_on(tmp_path):
    weights, same, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for path, content in ((weights, b"1"), (same, b"1"), (other, b"2")):
        path.write_bytes(content)

    def identity(*, module="stages.core.workflow.step", changes=None, image="x", weights=weights, part="backbone"):
        files = {part: weights, "head": None}
        return training_identity(
            module, settings(**(changes or {})).canonical(), inputs={"images": image}, weights=files
        )

    assert identity() == identity(weights=same)  # by content, not by path
    changes = [
        {"module": "stages.core.networks.weights"},
        {"changes": {"steps": 13}},
        {"image": "y"},
        {"weights": other},
        {"weights": None},
        {"part": "decoder"},
    ]
    assert len({identity(), *(identity(**change) for change in changes)}) == 1 + len(changes)


@pytest.mark.parametrize("damage", ["cut off", "one bit", "no checkpoint", "empty", "other content", "code", "packed"])
def test_a_damaged_checkpoint_is_set_aside_and_training_starts_anew(tmp_path, damage, caplog):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(tmp_path, {"step": 1, "network": {"a": torch.zeros(100)}}, identity="a")
    whole = bytearray(path.read_bytes())
    if damage == "one bit":
        whole[whole.index(bytes(200)) + 100] ^= 1  # of the tensor
    path.write_bytes({"cut off": whole[:-100], "one bit": whole, "no checkpoint": b"x" * 100}.get(damage, b""))
    if damage == "other content":
        torch.save([1], path)
    if damage == "packed":  # as a damaged method of compression has it
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("data", b"x" * 1000)
        packed = bytearray(path.read_bytes())
        packed[34:38] = b"\xff" * 4
        path.write_bytes(packed)
    if damage == "code":
        torch.save({"identity": "a", "state": Path(tmp_path)}, path)
    assert find_checkpoint(tmp_path, identity="a") is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.damaged.pt"]
    assert "checkpoint.pt is damaged" in caplog.text
    assert "training starts anew" in caplog.text


def test_a_checkpoint_with_any_damaged_byte_is_whole_or_set_aside(tmp_path):
    state = {"step": 1, "network": {"a": torch.arange(10.0)}}
    save_checkpoint(tmp_path, state, identity="a")
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    aside = 0
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x41]) + whole[i + 1 :])
        found = find_checkpoint(tmp_path, identity="a")
        aside += found is None
        assert found is None or (found["step"] == 1 and torch.equal(found["network"]["a"], state["network"]["a"]))
    assert aside > len(whole) / 4


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_snapshots_are_the_weights_of_trainings_that_end_there(tmp_path, average):
    plain = fit(tmp_path / "plain", ema_decay=average)
    assert_equal(fit(tmp_path / "kept", snapshots=[4, 7], ema_decay=average), plain)
    for update in (4, 7):
        found = Toy().network
        load_snapshot(tmp_path / "kept" / "s.safetensors", update, found)
        assert_equal(found.state_dict(), fit(tmp_path / f"short_{update}", ema_decay=average, steps=update))
    assert read_metadata(tmp_path / "kept" / "s.safetensors") == {"head": "toy", "updates": [4, 7]}
    assert names(tmp_path / "kept" / "checkpoint") == {
        "checkpoint.pt",
        "finished.json",
        "snapshot.000004.safetensors",
        "snapshot.000007.safetensors",
    }


def test_without_updates_the_file_of_snapshots_is_there_and_empty(tmp_path):
    fit(tmp_path, snapshots=[])
    assert read_weights(tmp_path / "s.safetensors") == {}
    with pytest.raises(ValueError, match=r"has no snapshot of update 4, only of \[\]; train again"):
        load_snapshot(tmp_path / "s.safetensors", 4, Toy().network)
    fit(tmp_path / "unwanted")
    assert not (tmp_path / "unwanted" / "s.safetensors").exists()


@pytest.mark.parametrize("minutes", [pytest.param(1e-9, id="checkpoints"), pytest.param(60.0, id="none-yet")])
def test_snapshots_survive_a_killed_process_bit_for_bit(tmp_path, minutes):
    """Killed after the first of them; what it leaves is used, or made anew where there was no checkpoint."""
    script = textwrap.dedent(f"""
        import importlib.util, os, signal, sys
        from pathlib import Path
        spec = importlib.util.spec_from_file_location("toy", {str(Path(__file__))!r})
        toy = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(toy)
        class Killed(toy.Toy):
            def batch(self, step, micro, generator):
                if step == 7:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().batch(step, micro, generator)
        toy.fit(Path(sys.argv[1]), Killed(), checkpoint_minutes={minutes}, snapshots=[4, 9])
    """)
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cut")], cwd=Path(__file__).parents[2], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "cut" / "checkpoint").glob("snapshot*")] == [
        "snapshot.000004.safetensors"
    ]
    task = Toy()
    fit(tmp_path / "cut", task, snapshots=[4, 9])
    assert task.steps[0] == ((7, 0) if minutes < 1 else (0, 0))
    fit(tmp_path / "whole", snapshots=[4, 9])
    for name in ("s.safetensors", "w.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    settle(tmp_path / "cut" / "checkpoint")
    assert not (tmp_path / "cut" / "checkpoint").exists()


@pytest.mark.parametrize("harm", ["missing", "of another training"])
def test_a_checkpoint_without_its_snapshots_is_not_gone_on_from(tmp_path, harm):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, Toy(die_at=6), checkpoint_minutes=1e-9, snapshots=[4])
    kept = tmp_path / "checkpoint" / "snapshot.000004.safetensors"
    kept.unlink()
    if harm != "missing":
        keep_snapshot(kept.parent, 4, Toy().network.state_dict(), identity="b")
    with pytest.raises(ValueError, match=r"000004\.safetensors, the weights after update 4 .* remove .*checkpoint"):
        fit(tmp_path, snapshots=[4])


class Lines:
    """A linear network on fixed rows, shared out among the passes."""

    def __init__(self, rows: int, passes: int) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(3, 1)
        self.rows = torch.linspace(-1, 1, rows * 3).reshape(passes, rows // passes, 3)

    def batch(self, step, micro, generator):
        return self.rows[micro]

    def losses(self, batch, generator):
        return {"square": (self.network(batch) - batch.sum(1, keepdim=True) - 1).square().mean()}


def test_mean_over_accumulated_passes_equals_one_large_batch(tmp_path):
    four = fit(tmp_path, Lines(12, 4), accumulate=4, reduction="mean", steps=20)
    one = fit(tmp_path, Lines(12, 1), accumulate=1, reduction="mean", steps=20)
    assert all(torch.allclose(four[name], one[name], atol=1e-6) for name in four)


def test_sum_over_accumulated_passes_equals_the_mean_at_a_larger_rate(tmp_path):
    """CIM's official code sums the gradients of four images (one optimizer step per four)."""
    summed = fit(tmp_path, Lines(12, 4), accumulate=4, reduction="sum", learning_rate=0.01, weight_decay=0.0)
    mean = fit(tmp_path, Lines(12, 4), accumulate=4, reduction="mean", learning_rate=0.04, weight_decay=0.0)
    assert all(torch.allclose(summed[name], mean[name], atol=1e-6) for name in summed)


def test_batches_made_ahead_change_nothing(tmp_path):
    assert_equal(fit(tmp_path, prefetch=4), fit(tmp_path, prefetch=0))


def test_error_in_a_batch_made_ahead_is_raised(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, Toy(die_at=3), prefetch=2)


def test_non_finite_loss_stops_naming_the_update_and_its_terms(tmp_path):
    with pytest.raises(FloatingPointError, match=r"update 4 is not finite: \{'square': nan, 'zero': "):
        fit(tmp_path, Toy(poison_at=4))
    assert not (tmp_path / "w.safetensors").exists()


def test_moving_average_of_the_weights_follows_its_formula(tmp_path):
    """w <- d w + (1 - d) p with d = min(decay, (1 + update) / (10 + update))."""
    history = []

    class Recorded(Lines):
        def batch(self, step, micro, generator):
            history.append(self.network.weight.detach().clone())
            return super().batch(step, micro, generator)

    task = Recorded(12, 1)
    averaged = fit(tmp_path, task, steps=3, accumulate=1, ema_decay=0.15)
    last = fit(tmp_path, Lines(12, 1), steps=3, accumulate=1)
    states, expected = [*history[1:], last["weight"]], history[0]
    for step, state in enumerate(states):
        decay = min(0.15, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * state
    assert torch.allclose(averaged["weight"], expected, atol=1e-6)


def test_passes_that_do_not_divide_among_devices_are_refused(tmp_path, monkeypatch):
    class Two:
        world_size = 2

    monkeypatch.setattr("stages.core.training.loop.make_fabric", lambda *_: Two())
    with pytest.raises(ValueError, match="accumulate is 3, which does not divide among 2 devices"):
        fit(tmp_path, accumulate=3)


def test_device_that_is_not_there_is_refused(tmp_path):
    outputs = TrainingOutputs(tmp_path / "w", tmp_path / "c", tmp_path / "p")
    with pytest.raises(ValueError, match="device 'tpu' is not there"):
        train(Toy(), settings(), folder=tmp_path, identity="a", seed=0, device="tpu", outputs=outputs)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        pytest.param(nn.Sequential(nn.Linear(5, 16)), "not in the network", id="left over"),
        pytest.param(nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)), "of another shape", id="shape"),
        pytest.param(
            nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2), nn.Linear(2, 2)), "2 missing", id="missing"
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, other, message):
    save_weights(tmp_path / "w.safetensors", nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2)), {})
    with pytest.raises(ValueError, match=message):
        load_weights(tmp_path / "w.safetensors", other)


def test_weights_that_are_missing_or_cut_off_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*w\.safetensors"):
        load_weights(tmp_path / "w.safetensors", nn.Linear(1, 1))
    (tmp_path / "w.safetensors").write_bytes(b"\x10")
    with pytest.raises(ValueError, match=r"w\.safetensors is no safetensors file or was cut off"):
        read_metadata(tmp_path / "w.safetensors")


def test_equal_weights_are_equal_bytes(tmp_path):
    for name in "ab":
        save_weights(tmp_path / name, Toy().network, {"z": 1, "a": [1, 2], "m": "x"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
