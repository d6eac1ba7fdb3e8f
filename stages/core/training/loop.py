"""The training loop of every network, on Lightning Fabric: one device or several, the same result after a kill."""

import contextlib
import dataclasses
import logging
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from stages.core.networks.weights import not_finite, save_weights
from stages.core.training.batches import made_ahead
from stages.core.training.checkpoints import find_checkpoint, save_checkpoint
from stages.core.training.curves import Curves, plot_curves, write_curves
from stages.core.training.fabric import from_all, make_fabric
from stages.core.training.folder import forget_finished, note_finished, owned_folder, settle
from stages.core.training.gradients import JoinedOutputs
from stages.core.training.parameter_groups import make_optimizer, parameter_groups
from stages.core.training.reporter import Reporter
from stages.core.training.schedules import lr_factor, momentum_factor
from stages.core.training.settings import TrainingSettings
from stages.core.training.snapshots import check_kept, join_snapshots, keep_snapshot
from stages.core.training.statistics import NormStatistics
from stages.core.workflow.signals import StoppedBySignal, StopRequest, stop_requests
from stages.core.workflow.step import clock

log = logging.getLogger(__name__)
STEADIER = "lower the learning rate, lengthen the warm-up or clip the gradient"
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
        folder: place of the checkpoints, beside the outputs. The last one stays until `settle_trainings` removes it:
            where the outputs get lost, a start with the same identity writes the same bytes again, at once.
        identity: digest of all that the result depends on; a checkpoint of another identity is set aside.
        seed: of all that is random.
        device: "auto", "cpu", "cuda" or "cuda:1". Under torchrun each process takes one GPU (or CPU) and a share of
            the accumulated passes, so that an update sees the same batch whatever the number of devices.
        outputs: written by the first process alone.
        snapshots: updates after which the weights are kept for `outputs.snapshots`: what a training of so many updates
            at these rates would give, the moving average where there is one.

    Raises:
        FloatingPointError: a loss term is not finite, or the network is not after the last update; names which.
        StoppedBySignal: SIGTERM or SIGINT came; raised after the update that was running, with a checkpoint of it.
        ValueError: a checkpoint without the snapshots before it; the accumulated passes do not divide among the
            devices; another process of this host trains in `folder`; see also `parameter_groups`.
    """
    fabric = make_fabric(device, settings)
    if settings.accumulate % fabric.world_size:
        raise ValueError(
            f"accumulate is {settings.accumulate}, which does not divide among {fabric.world_size} devices; "
            "use a number of devices that divides it"
        )
    network = task.network
    with contextlib.ExitStack() as stack:
        if fabric.is_global_zero:
            stack.enter_context(owned_folder(folder))
            settle(folder)
        stop = stack.enter_context(stop_requests())
        loop = _Loop(
            task, settings, fabric=fabric, folder=folder, identity=identity, seed=seed, snapshots=snapshots
        )  # fmt: skip
        try:
            loop.run(stop)
        finally:
            loop.joined.remove()
            task.network = network
        loop.load_average(network)
        if fabric.is_global_zero:
            _write_outputs(outputs, network, loop.curves, folder=folder, snapshots=snapshots)
        fabric.barrier()
    return network


def _write_outputs(
    outputs: TrainingOutputs, network: nn.Module, curves: Curves, *, folder: Path, snapshots: Sequence[int]
) -> None:
    """Write all that a training gives; its last checkpoint stays, from which the same can be written again."""
    forget_finished(folder)
    last = curves.points[-1]
    write_curves(outputs.curves, curves)
    plot_curves(outputs.plot, curves, title=f"{last['step']} updates in {clock(last['seconds'])}")
    if outputs.snapshots is not None:
        join_snapshots(outputs.snapshots, folder, snapshots, outputs.metadata)
    save_weights(outputs.weights, network, outputs.metadata)
    written = (outputs.curves, outputs.plot, outputs.snapshots, outputs.weights)
    note_finished(folder, [path for path in written if path is not None])


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
        self.statistics = NormStatistics(self.bare) if fabric.world_size > 1 else None
        self.average: dict[str, Tensor] = {}
        if settings.ema_decay:
            self.average = {name: tensor.detach().clone() for name, tensor in self._averaged()}
        self.curves, self.first = Curves(), 0
        self._resume()

    def run(self, stop: StopRequest) -> None:
        """Do the updates that are left, and keep a checkpoint of the last; `stop` is asked after each."""
        self.network.train()
        self.saved = time.perf_counter()
        reporter = Reporter(self.settings.steps, self.first)
        with made_ahead(self._passes(), self._make_batch, ahead=self.settings.prefetch) as batches:
            for step in range(self.first, self.settings.steps):
                rate = self._set_rate(step)
                due, signal_number = self._update(step, batches, stop)
                done = step + 1
                if done % self.settings.curve_steps == 0 or done == self.settings.steps:
                    point = self.curves.close_point(done, rate)
                    if self.fabric.is_global_zero:
                        reporter.report(point)
                if done in self.snapshots and self.fabric.is_global_zero:
                    # Before any checkpoint of this update or a later one, which relies on it.
                    tensors = {**self.bare.state_dict(), **self.average}
                    keep_snapshot(self.folder, done, tensors, identity=self.identity)
                if done == self.settings.steps:
                    self._check_network()  # no loss looks at what the last update has made
                if done == self.settings.steps or due or signal_number is not None:
                    self._save(done)
                if signal_number is not None and done < self.settings.steps:
                    self.fabric.barrier()  # where one process ends, torchrun ends all
                    raise StoppedBySignal(
                        signal_number,
                        f"{signal.Signals(signal_number).name} came; a checkpoint of update {done} of"
                        f" {self.settings.steps} is in {self.folder}, from which the next start goes on",
                    )

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

    def _update(self, step: int, batches: Iterator[Any], stop: StopRequest) -> tuple[bool, int | None]:
        """Whether a checkpoint is due, and which signal has come to any process: the same in all of them."""
        settings, world = self.settings, self.fabric.world_size
        own = range(self.fabric.global_rank, settings.accumulate, world)
        # Processes average their gradients, so a sum over all passes needs the factor `world`.
        scale = world / settings.accumulate if settings.reduction == "mean" else float(world)
        terms = []
        if self.statistics is not None:
            self.statistics.start()
        for micro in own:
            batch = self.fabric.to_device(next(batches))
            torch.manual_seed(int(stream(self.seed, step, micro, TORCH).generate_state(1, np.uint64)[0]))
            with self.fabric.no_backward_sync(self.network, enabled=micro != own[-1]):
                losses = self.task.losses(batch, np.random.default_rng(stream(self.seed, step, micro, LOSSES)))
                self.fabric.backward(self.joined.total(losses) * scale)
            terms.append({name: value.detach() for name, value in losses.items()})
            if self.statistics is not None:
                self.statistics.end_pass()
        if self.statistics is not None:
            self.statistics.merge(lambda tensor: self.fabric.all_gather(tensor))
        due = time.perf_counter() - self.saved > 60 * settings.checkpoint_minutes
        said = from_all(self.fabric, (_as_numbers(terms), due, stop.number))
        self._count(step, [said[micro % world][0][micro // world] for micro in range(settings.accumulate)])
        if settings.clip_gradient_norm is not None:
            self.fabric.clip_gradients(self.network, self.optimizer, max_norm=settings.clip_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            # A short memory at first, so that the noise of the start does not stay in the average.
            decay = min(settings.ema_decay, (1 + step) / (10 + step))
            for name, tensor in self._averaged():
                self.average[name].lerp_(tensor.detach(), 1 - decay)
        return said[0][1], next((number for _, _, number in said if number is not None), None)

    def _count(self, step: int, terms: list[dict[str, float]]) -> None:
        """Count the terms of all passes of an update, those of other processes, too."""
        for named in terms:
            if not np.isfinite(list(named.values())).all():
                raise FloatingPointError(f"the loss of update {step} is not finite: {named}; {STEADIER}")
            self.curves.add(named)

    def _check_network(self) -> None:
        if broken := not_finite({**self.bare.state_dict(), **self.average}):
            raise FloatingPointError(
                f"after update {self.settings.steps}, the last, {len(broken)} tensors of the network hold numbers that "
                f"are not finite, such as {broken[:3]}; {STEADIER}"
            )

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
        self.saved = time.perf_counter()
        if not self.fabric.is_global_zero:
            return
        finished = done == self.settings.steps
        state = {
            "step": done,
            "network": self.bare.state_dict(),
            "optimizer": None if finished else self.optimizer.state_dict(),  # no update is left to do
            "average": self.average,
            "curves": self.curves.state(),
        }
        save_checkpoint(self.folder, state, identity=self.identity)
        log.info("checkpoint after update %d", done)

    def _resume(self) -> None:
        """Go on from the checkpoint of an earlier process. The first process looks alone, as it may set one aside."""
        state = find_checkpoint(self.folder, identity=self.identity) if self.fabric.is_global_zero else None
        if not from_all(self.fabric, state is not None)[0]:
            return
        if state is None:
            state = find_checkpoint(self.folder, identity=self.identity)
        assert state is not None  # the first process has seen it
        self.fabric.barrier()  # nobody writes a newer one before all have read this
        check_kept(self.folder, [done for done in self.snapshots if done <= state["step"]], identity=self.identity)
        self.bare.load_state_dict(state["network"])
        if state["optimizer"] is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.average = {name: tensor.to(self.fabric.device) for name, tensor in state["average"].items()}
        self.curves, self.first = Curves.resumed(state["curves"]), state["step"]
        if self.first == self.settings.steps:
            log.info("all %d updates were done before; %s is written out", self.first, self.folder)
        else:
            log.info("resumed after update %d of %d", self.first, self.settings.steps)


def _as_numbers(terms: list[dict[str, Tensor]]) -> list[dict[str, float]]:
    """The terms of each pass as floats, with one wait for the device."""
    values = iter(torch.stack([value.float() for losses in terms for value in losses.values()]).tolist())
    return [{name: next(values) for name in losses} for losses in terms]
