"""Running statistics of batch norms where several processes share the passes of an update."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

BATCH_NORM = nn.modules.batchnorm._BatchNorm  # of any number of dimensions
Gather = Callable[[Tensor], Tensor]  # a tensor of every process -> (processes, ...), in the order of their ranks


class NormStatistics:
    """Gives every process the running means and variances that one process would have after all passes of an update.

    A forward pass normalises by its own batch, so that the passes of an update need nothing of one another. What it
    leaves in the statistics is r -> d r + c: the decay d and the contribution c of each pass are gathered from all
    processes, and applied in the order of the passes. Equal to one process but for the rounding of sums. A pass that
    reads the statistics, as one that also predicts does, sees of the update that is running its own process's passes.
    """

    def __init__(self, network: nn.Module) -> None:
        self._all = [m for m in network.modules() if isinstance(m, BATCH_NORM) and m.running_mean is not None]
        self._norms: list[Any] = []

    def start(self) -> None:
        """Call before the first pass of an update. Raises ValueError for statistics that have no fixed momentum."""
        self._norms = [norm for norm in self._all if norm.training]
        if any(norm.momentum is None for norm in self._norms):
            raise ValueError("batch norms with momentum None average over all passes; train them with one process")
        self._decays: list[Tensor] = []
        self._contributions: list[Tensor] = []
        self._first = self._before = self._read()

    def end_pass(self) -> None:
        """Call after each pass."""
        if not self._norms:
            return
        values, counts = self._read()
        before, counts_before = self._before
        kept = torch.tensor([1 - norm.momentum for norm in self._norms], dtype=torch.float64, device=values.device)
        decays = kept ** (counts - counts_before)  # a norm may be passed several times, or not at all
        self._decays.append(decays)
        self._contributions.append(values - self._spread(decays) * before)
        self._before = values, counts

    def merge(self, gather: Gather) -> None:
        """Call after the last pass, in all processes; each has done as many passes, in turns by rank."""
        if not self._norms:
            return
        decays, contributions = gather(torch.stack(self._decays)), gather(torch.stack(self._contributions))
        counts = gather(self._before[1] - self._first[1]).sum(0)
        values = self._first[0]
        for turn in range(decays.shape[1]):
            for rank in range(decays.shape[0]):
                values = self._spread(decays[rank, turn]) * values + contributions[rank, turn]
        self._write(values, self._first[1] + counts)

    def _tensors(self) -> list[Tensor]:
        return [tensor for norm in self._norms for tensor in (norm.running_mean, norm.running_var)]

    def _read(self) -> tuple[Tensor, Tensor]:
        """Statistics of all norms in a row, and how often each norm was passed."""
        if not self._norms:
            return torch.zeros(0), torch.zeros(0)
        values = torch.cat([tensor.double() for tensor in self._tensors()])
        return values, torch.stack([norm.num_batches_tracked for norm in self._norms])

    def _spread(self, per_norm: Tensor) -> Tensor:
        sizes = torch.tensor([2 * norm.num_features for norm in self._norms], device=per_norm.device)
        return per_norm.repeat_interleave(sizes)

    def _write(self, values: Tensor, counts: Tensor) -> None:
        sizes = [len(tensor) for tensor in self._tensors()]
        for tensor, merged in zip(self._tensors(), values.split(sizes), strict=True):
            tensor.copy_(merged)
        for norm, count in zip(self._norms, counts, strict=True):
            norm.num_batches_tracked.copy_(count)
