"""Which parameters learn how fast, and which decay."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from stages.core.training.settings import TrainingSettings

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def parameter_groups(network: nn.Module, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Groups for an optimizer: `params`, `names`, `lr_mult`, `weight_decay`; frozen parameters are in none.

    A parameter is a bias when the last part of its name is `bias`, those of normalisation layers included, as in the
    official CIM. Raises ValueError for a start of names that no parameter has, and where nothing is left to train.
    """
    _check_starts(network, settings)
    norms = set(_norm_parameters(network))
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        factor, bias = _module_factor(name, settings.lr_mult), name.rpartition(".")[2] == "bias"
        decays = settings.bias_decay if bias else settings.norm_decay or name not in norms
        factor *= settings.bias_lr_mult if bias else 1.0
        key = (factor, settings.weight_decay if decays else 0.0)
        new = {"params": [], "names": [], "lr_mult": key[0], "weight_decay": key[1]}
        group = groups.setdefault(key, new)
        group["params"].append(parameter)
        group["names"].append(name)
    if not groups:
        raise ValueError("the network has no parameter to train; freeze fewer stages")
    return list(groups.values())


def make_optimizer(groups: list[dict[str, Any]], settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer of the settings over `parameter_groups`."""
    rate, betas = settings.learning_rate, tuple(settings.betas)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, nesterov=settings.nesterov)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer](groups, lr=rate, betas=betas)


def _check_starts(network: nn.Module, settings: TrainingSettings) -> None:
    names = [name for name, _ in network.named_parameters()]
    for start in settings.lr_mult:
        if not any(name.startswith(start) for name in names):
            modules = sorted({name.partition(".")[0] for name in names})
            raise ValueError(f"lr_mult names {start!r}, but no parameter starts so; the network's parts are {modules}")


def _module_factor(name: str, factors: dict[str, float]) -> float:
    starts = [start for start in factors if name.startswith(start)]
    return factors[max(starts, key=len)] if starts else 1.0


def _norm_parameters(network: nn.Module) -> Iterator[str]:
    for path, module in network.named_modules():
        if isinstance(module, NORMS):
            yield from (f"{path}.{name}" if path else name for name, _ in module.named_parameters(recurse=False))
