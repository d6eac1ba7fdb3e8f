"""Updates of the training loop, one at a time: how long they take, what they keep in memory, where they wait."""

import contextlib
import dataclasses
import itertools
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.fake_device import FakeDevice
from benchmarks.gpu.memory import LiveBytes
from benchmarks.gpu.trainers import changed
from benchmarks.timing import wait_for
from stages.core.training.batches import made_ahead
from stages.core.training.fabric import make_fabric
from stages.core.training.loop import Task, _Loop
from stages.core.workflow.signals import StopRequest

SIDES = ("longer_sides", "shorter_sides")


class Updates:
    """The training loop of a task, whose updates are asked for. It writes nothing."""

    def __init__(self, task: Task, settings: Any, *, device: str) -> None:
        """`settings` are those of the task's step, as in `train`."""
        self.task, self.settings = task, settings
        training = settings.training
        fabric = make_fabric(device, training)
        self.device = fabric.device
        folder = Path("no_checkpoint")
        self.loop = _Loop(task, training, fabric=fabric, folder=folder, identity="", seed=3, snapshots=())
        self.loop.network.train()
        self.loop.saved = time.perf_counter()  # no checkpoint is due
        self.done, self.waited = 0, 0.0
        self.fake: FakeDevice | None = None
        if self.device.type == "cpu":
            self.fake = FakeDevice()
            self.fake.put(list(self.loop.bare.parameters()), list(self.loop.bare.buffers()))
            self._losses, task.losses = task.losses, self._losses_of_marked  # type: ignore[method-assign]

    def do(self, count: int, *, seconds: float = 0.0) -> int:
        """Do as many updates, and more until the seconds are over; how many it were. `waited` is for their batches."""
        training = self.loop.settings
        passes = ((step, micro) for step in itertools.count(self.done) for micro in range(training.accumulate))
        if not seconds:  # no more batches than are used
            passes = itertools.islice(passes, count * training.accumulate)
        start, first = time.perf_counter(), self.done
        self.waited = 0.0
        with made_ahead(passes, self.loop._make_batch, ahead=training.prefetch) as batches:
            waited_for = self._waited_for(batches)
            while self.done - first < count or time.perf_counter() - start < seconds:
                self.loop._set_rate(self.done)
                self.loop._update(self.done, waited_for, StopRequest())
                self.done += 1
        return self.done - first

    def end(self) -> None:
        """Leave the task as it was."""
        self.loop.joined.remove()

    def _waited_for(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            start = time.perf_counter()
            batch = next(batches)
            self.waited += time.perf_counter() - start
            yield batch

    def _losses_of_marked(self, batch: Any, generator: Any) -> Any:
        assert self.fake is not None
        self.fake.put(batch)
        return self._losses(batch, generator)


@dataclasses.dataclass(frozen=True)
class Measured:
    """Of a trainer on a device.

    Attributes:
        seconds: of the timed updates.
        images: that they saw.
        peak_bytes: most memory of tensors in an update on the largest images of the settings.
        waiting: share of the seconds in which the loop waited for a batch.
        waits: synchronisations of one update, by (what, where).
        passes: forward passes of an update.
    """

    seconds: float
    images: int
    peak_bytes: int
    waiting: float
    waits: dict[str, int]
    passes: int


def measure(task: Task, settings: Any, *, images: int, device: str, seconds: float) -> Measured:
    """Measure updates for some seconds at least, after two on the largest images; `images` are those of a pass."""
    updates = Updates(task, settings, device=device)
    accumulate = settings.training.accumulate
    place = updates.device
    try:
        task.settings = largest(settings)  # type: ignore[attr-defined]
        if place.type == "cuda":
            torch.cuda.reset_peak_memory_stats(place)
            updates.do(1)  # makes the optimizer's state, chooses kernels
            with synchronisations() as waits:
                updates.do(1)
            peak = torch.cuda.max_memory_allocated(place)
        else:
            assert updates.fake is not None
            with updates.fake as fake:
                updates.do(1)
                fake.waits.clear()
                updates.do(1)
                waits = Counter({f"{what} in {where}": count for (what, where), count in fake.waits.items()})
            with LiveBytes() as counted:
                counted.count(updates.loop.bare.state_dict(), updates.loop.optimizer.state_dict()["state"])
                updates.do(1)
            peak = counted.peak
        task.settings = settings  # type: ignore[attr-defined]
        wait_for(place)
        start = time.perf_counter()
        done = updates.do(1, seconds=seconds)
        wait_for(place)
        total = time.perf_counter() - start
    finally:
        updates.end()
    return Measured(
        seconds=total, images=done * accumulate * images, peak_bytes=peak, waiting=updates.waited / total,
        waits=dict(waits.most_common()), passes=accumulate,
    )  # fmt: skip


def largest(settings: Any) -> Any:
    """The settings with all images at the largest of their sizes."""
    data = getattr(settings, "data", None)
    sides = {key: [max(getattr(data, key))] for key in SIDES if hasattr(data, key)}
    return changed(settings, {"data": sides}) if sides else settings


@contextlib.contextmanager
def synchronisations() -> Iterator[Counter[str]]:
    """Count what PyTorch notices of operations that make the CPU wait for the GPU, by the line that asked."""
    found: Counter[str] = Counter()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield found
    finally:
        torch.cuda.set_sync_debug_mode(before)
    for one in caught:
        if "synchronizing" in str(one.message).lower():
            path = Path(one.filename)
            found[f"{'/'.join(path.parts[-3:])}:{one.lineno}"] += 1
