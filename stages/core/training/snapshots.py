"""Snapshots: a network's weights at several updates of its training, in one safetensors file.

Keys are those of the network behind the update's number: `000050/backbone.conv1.weight`. While a training runs each
snapshot is a file of its own beside the checkpoint, so that a killed training keeps them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from stages.core.networks.weights import load_tensors, read_metadata, read_weights, save_tensors
from stages.core.training.folder import SNAPSHOTS


def keep_snapshot(folder: Path, update: int, tensors: Mapping[str, torch.Tensor], *, identity: str) -> None:
    """Write the weights after `update` into the folder of a running training."""
    save_tensors(_kept(folder, update), tensors, {"identity": identity, "update": update})


def check_kept(folder: Path, updates: Sequence[int], *, identity: str) -> None:
    """Raise ValueError unless the folder holds the snapshots of these updates, all of this training."""
    for update in updates:
        path = _kept(folder, update)
        if not path.is_file() or read_metadata(path) != {"identity": identity, "update": update}:
            raise ValueError(
                f"{path}, the weights after update {update} of this training, is missing or of another one, but the "
                f"checkpoint beside it is of a later update; remove {folder} to train from the start"
            )


def join_snapshots(path: Path, folder: Path, updates: Sequence[int], metadata: Mapping[str, Any]) -> None:
    """Write the snapshots of a folder as one file; without updates it holds no tensor.

    `metadata` must be JSON; `updates` is added to it.
    """
    tensors = {
        f"{_number(update)}/{name}": tensor
        for update in updates
        for name, tensor in read_weights(_kept(folder, update)).items()
    }
    save_tensors(path, tensors, {**metadata, "updates": list(updates)})


def load_snapshot(path: Path, update: int, module: torch.nn.Module) -> None:
    """Load the weights after `update` from a joined file into `module`.

    Raises ValueError where the file has no such snapshot, or one of another network.
    """
    updates = read_metadata(path).get("updates", [])
    if update not in updates:
        raise ValueError(f"{path} has no snapshot of update {update}, only of {updates}; train again")
    load_tensors(read_weights(path, start=f"{_number(update)}/"), module, path)


def _kept(folder: Path, update: int) -> Path:
    return folder / SNAPSHOTS.replace("*", _number(update))


def _number(update: int) -> str:
    return f"{update:06d}"
