"""Gradients of the parts of a network that a loss leaves out: zeros, on one device as on several."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class JoinedOutputs:
    """Joins the outputs of a network, so that where the loss uses one of them all parts of the network get a gradient.

    A part may have no loss in a pass, as where no object was found for it. Its parameters then get a gradient of zeros,
    not none: they decay and keep their momentum as in any other update, on one device as on several. Values and all
    other gradients stay as they are.
    """

    def __init__(self, network: nn.Module) -> None:
        self._joined: tuple[Tensor, ...] = ()
        self._hook = network.register_forward_hook(self._join)

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Sum of the terms, with a gradient even where no term depends on the network's last outputs."""
        total = sum(losses.values())
        return total if total.requires_grad or not self._joined else total + 0 * self._joined[0].sum()

    def remove(self) -> None:
        """Leave the network as it was."""
        self._hook.remove()

    def _join(self, network: nn.Module, inputs: tuple, outputs: Any) -> Any:
        found: list[Tensor] = []

        def collected(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        _replaced(outputs, collected)
        self._joined = _Identity.apply(*found) if found else ()
        joined = iter(self._joined)
        return _replaced(outputs, lambda _: next(joined))


class _Identity(torch.autograd.Function):
    """Tensors as they are; PyTorch gives `backward` zeros for those that no loss depends on."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tensors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return gradients


def _replaced(outputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Outputs in the same containers, each tensor that has a gradient changed."""
    if isinstance(outputs, Tensor):
        return change(outputs) if outputs.requires_grad else outputs
    if isinstance(outputs, Mapping):
        return {name: _replaced(part, change) for name, part in outputs.items()}
    if isinstance(outputs, list | tuple):
        parts = [_replaced(part, change) for part in outputs]
        return type(outputs)(*parts) if hasattr(outputs, "_fields") else type(outputs)(parts)
    return outputs
