"""The training loop of every network, on Lightning Fabric: one device or several, the same result after a kill."""

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from stages.core.networks.weights import save_weights
from stages.core.training.batches import made_ahead
from stages.core.training.checkpoints import find_checkpoint, remove_checkpoint, save_checkpoint
from stages.core.training.curves import Curves, plot_curves, write_curves
from stages.core.training.fabric import make_fabric
from stages.core.training.gradients import JoinedOutputs
from stages.core.training.parameter_groups import make_optimizer, parameter_groups
from stages.core.training.schedules import lr_factor, momentum_factor
from stages.core.training.settings import TrainingSettings
from stages.core.training.snapshots import check_kept, join_snapshots, keep_snapshot
from stages.core.workflow.step import clock

log = logging.getLogger(__name__)
BATCH, LOSSES, TORCH = range(3)  # what a random stream is for


class Task(Protocol):
    """What is trained on what.

    Everything random must come from the given generator, or from torch's global one inside `losses`, which is seeded
    for each forward pass: then a pass depends on (seed, step, micro) alone, and a resumed run is an undisturbed one.

    Attributes:
        network: trained in place. While training it is wrapped for precision and devices, so that `losses` must call
            it as a function, and none of its other methods.
    """

    network: nn.Module

    def batch(self, step: int, micro: int, generator: np.random.Generator) -> Any:
        """Inputs of forward pass `micro` (0 to accumulate - 1) of update `step`, on the CPU; tensors are moved after.

        Runs in a background thread when `prefetch` is set.
        """

    def losses(self, batch: Any, generator: np.random.Generator) -> dict[str, Tensor]:
        """Weighted scalar terms of the loss, at least one; their sum is what is minimised.

        Parts of the network on which no term depends get a gradient of zeros; see `JoinedOutputs`.
        """


@dataclasses.dataclass(frozen=True)
class TrainingOutputs:
    """Where the results go: safetensors weights, loss curves as JSON and as PNG, snapshots of the weights if wanted."""

    weights: Path
    curves: Path
    plot: Path
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    snapshots: Path | None = None


def train(
    task: Task,
    settings: TrainingSettings,
    *,
    folder: Path,
    identity: str,
    seed: int,
    device: str,
    outputs: TrainingOutputs,
    snapshots: Sequence[int] = (),
) -> nn.Module:
    """Train `task.network` for a fixed number of updates, write weights and curves, and return the network.

    Args:
        task: the network, its batches and its losses.
        settings: see `TrainingSettings`.
        folder: place of the checkpoint, which is removed after the outputs are written.
        identity: digest of all that the result depends on; a checkpoint of another identity is set aside.
        seed: of all that is random.
        device: "auto", "cpu", "cuda" or "cuda:1". Under torchrun each process takes one GPU (or CPU) and a share of
            the accumulated passes, so that an update sees the same batch whatever the number of devices.
        outputs: written by the first process alone.
        snapshots: updates after which the weights are kept for `outputs.snapshots`: what a training of so many updates
            at these rates would give, the moving average where there is one.

    Raises:
        FloatingPointError: a loss term is not finite; names the terms and the update.
        ValueError: a checkpoint without the snapshots before it; the accumulated passes do not divide among the
            devices; see also `parameter_groups`.
    """
    fabric = make_fabric(device, settings)
    if settings.accumulate % fabric.world_size:
        raise ValueError(
            f"accumulate is {settings.accumulate}, which does not divide among {fabric.world_size} devices; "
            "use a number of devices that divides it"
        )
    network = task.network
    loop = _Loop(
        task, settings, fabric=fabric, folder=folder, identity=identity, seed=seed, snapshots=snapshots
    )  # fmt: skip
    try:
        loop.run()
    finally:
        loop.joined.remove()
        task.network = network
    loop.load_average(network)
    if fabric.is_global_zero:
        outputs.weights.parent.mkdir(parents=True, exist_ok=True)
        write_curves(outputs.curves, loop.curves)
        plot_curves(outputs.plot, loop.curves, title=f"{settings.steps} updates in {clock(loop.curves.elapsed())}")
        if outputs.snapshots is not None:
            join_snapshots(outputs.snapshots, folder, snapshots, outputs.metadata)
        save_weights(outputs.weights, network, outputs.metadata)
        remove_checkpoint(folder)
    fabric.barrier()
    return network


def stream(seed: int, step: int, micro: int, purpose: int) -> np.random.SeedSequence:
    """The random stream of one purpose in one forward pass."""
    return np.random.SeedSequence([seed, step, micro, purpose])


class _Loop:
    def __init__(
        self, task: Task, settings: TrainingSettings, *, fabric: Fabric, folder: Path, identity: str, seed: int,
        snapshots: Sequence[int],
    ) -> None:  # fmt: skip
        self.task, self.settings, self.fabric, self.snapshots = task, settings, fabric, snapshots
        self.folder, self.identity, self.seed = folder, identity, seed
        self.bare = task.network
        self.joined = JoinedOutputs(self.bare)
        groups = parameter_groups(self.bare, settings)
        for group in groups:
            log.info(
                "%d parameters at rate x%g, decay %g", len(group["names"]), group["lr_mult"], group["weight_decay"]
            )
        self.network, self.optimizer = fabric.setup(self.bare, make_optimizer(groups, settings))
        task.network = self.network
        self.average: dict[str, Tensor] = {}
        if settings.ema_decay:
            self.average = {name: tensor.detach().clone() for name, tensor in self._averaged()}
        self.curves, self.first = Curves(), 0
        self._resume()

    def run(self) -> None:
        """Do the updates that are left."""
        self.network.train()
        saved = time.perf_counter()
        reporter = _Reporter(self.settings.steps, self.first)
        with made_ahead(self._passes(), self._make_batch, ahead=self.settings.prefetch) as batches:
            for step in range(self.first, self.settings.steps):
                rate = self._set_rate(step)
                self._update(step, batches)
                done = step + 1
                if done % self.settings.curve_steps == 0 or done == self.settings.steps:
                    point = self.curves.close_point(done, rate)
                    if self.fabric.is_global_zero:
                        reporter.report(point)
                if done in self.snapshots and self.fabric.is_global_zero:
                    # Before any checkpoint of this update or a later one, which relies on it.
                    tensors = {**self.bare.state_dict(), **self.average}
                    keep_snapshot(self.folder, done, tensors, identity=self.identity)
                now = time.perf_counter()
                if now - saved > 60 * self.settings.checkpoint_minutes and done < self.settings.steps:
                    saved = now
                    self._save(done)

    def load_average(self, network: nn.Module) -> None:
        """Put the moving average in the place of the last weights, where one is kept."""
        if self.average:
            network.load_state_dict({**network.state_dict(), **self.average})

    def _passes(self) -> Iterator[tuple[int, int]]:
        rank, world = self.fabric.global_rank, self.fabric.world_size
        for step in range(self.first, self.settings.steps):
            yield from ((step, micro) for micro in range(rank, self.settings.accumulate, world))

    def _make_batch(self, step: int, micro: int) -> Any:
        return self.task.batch(step, micro, np.random.default_rng(stream(self.seed, step, micro, BATCH)))

    def _update(self, step: int, batches: Iterator[Any]) -> None:
        settings, world = self.settings, self.fabric.world_size
        own = range(self.fabric.global_rank, settings.accumulate, world)
        # Processes average their gradients, so a sum over all passes needs the factor `world`.
        scale = world / settings.accumulate if settings.reduction == "mean" else float(world)
        terms = []
        for micro in own:
            batch = self.fabric.to_device(next(batches))
            torch.manual_seed(int(stream(self.seed, step, micro, TORCH).generate_state(1, np.uint64)[0]))
            with self.fabric.no_backward_sync(self.network, enabled=micro != own[-1]):
                losses = self.task.losses(batch, np.random.default_rng(stream(self.seed, step, micro, LOSSES)))
                self.fabric.backward(self.joined.total(losses) * scale)
            terms.append({name: value.detach() for name, value in losses.items()})
        self._count(step, terms)
        if settings.clip_gradient_norm is not None:
            self.fabric.clip_gradients(self.network, self.optimizer, max_norm=settings.clip_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            # A short memory at first, so that the noise of the start does not stay in the average.
            decay = min(settings.ema_decay, (1 + step) / (10 + step))
            for name, tensor in self._averaged():
                self.average[name].lerp_(tensor.detach(), 1 - decay)

    def _count(self, step: int, terms: list[dict[str, Tensor]]) -> None:
        flat = [(name, value) for losses in terms for name, value in losses.items()]
        values = torch.stack([value.float() for _, value in flat]).tolist()  # one wait for the device per update
        for losses in np.split(np.arange(len(flat)), np.cumsum([len(losses) for losses in terms])[:-1]):
            named = {flat[i][0]: values[i] for i in losses}
            if not np.isfinite(list(named.values())).all():
                raise FloatingPointError(
                    f"the loss of update {step} is not finite: {named}; lower the learning rate, lengthen the warm-up "
                    "or clip the gradient"
                )
            self.curves.add(named)

    def _set_rate(self, step: int) -> float:
        factor = lr_factor(step, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * factor * group["lr_mult"]
        shrink = momentum_factor(step, self.settings)
        if shrink != 1:
            for state in self.optimizer.state.values():
                state["momentum_buffer"].mul_(shrink)
        return self.settings.learning_rate * factor

    def _averaged(self) -> Iterator[tuple[str, Tensor]]:
        trained = {name for name, parameter in self.bare.named_parameters() if parameter.requires_grad}
        buffers = {name for name, _ in self.bare.named_buffers()}
        for name, tensor in self.bare.state_dict().items():
            if tensor.is_floating_point() and (name in trained or name in buffers):
                yield name, tensor

    def _save(self, done: int) -> None:
        if not self.fabric.is_global_zero:
            return
        state = {
            "step": done,
            "network": self.bare.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "curves": self.curves.state(),
        }
        save_checkpoint(self.folder, state, identity=self.identity)
        log.info("checkpoint after update %d", done)

    def _resume(self) -> None:
        state = find_checkpoint(self.folder, identity=self.identity)
        self.fabric.barrier()
        if state is None:
            return
        check_kept(self.folder, [done for done in self.snapshots if done <= state["step"]], identity=self.identity)
        self.bare.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = {name: tensor.to(self.fabric.device) for name, tensor in state["average"].items()}
        self.curves, self.first = Curves.resumed(state["curves"]), state["step"]
        log.info("resumed after update %d of %d", self.first, self.settings.steps)


class _Reporter:
    def __init__(self, steps: int, first: int) -> None:
        self.steps, self.first, self.started = steps, first, time.perf_counter()

    def report(self, point: dict[str, Any]) -> None:
        done, seconds = point["step"] - self.first, time.perf_counter() - self.started
        terms = " ".join(f"{name} {value:.4f}" for name, value in point["losses"].items())
        left = clock((self.steps - point["step"]) * seconds / done)
        log.info(
            "update %d of %d: %s, rate %.3g, %.2f updates per second, %s left",
            point["step"], self.steps, terms, point["rate"], done / seconds, left,
        )  # fmt: skip
