"""Weights of networks as safetensors files. What they note about themselves is read without torch."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from stages.core.artifacts.files import whole_file
from stages.core.networks.noted import Noted

if TYPE_CHECKING:
    import torch

METADATA = "tagmask"  # one key, as the library writes several in a random order and equal weights must be equal bytes


def save_weights(path: Path, module: "torch.nn.Module", metadata: Mapping[str, Any]) -> None:
    """Write all parameters and buffers of `module`, whole or not at all. `metadata` must be JSON."""
    save_tensors(path, module.state_dict(), metadata)


def save_tensors(path: Path, tensors: Mapping[str, "torch.Tensor"], metadata: Mapping[str, Any]) -> None:
    """Write tensors by name, whole or not at all. `metadata` must be JSON."""
    from safetensors.torch import save_file

    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    noted = {METADATA: json.dumps(metadata, sort_keys=True)}
    with whole_file(path) as unfinished:
        save_file(copies, unfinished, noted)
        _read_back(unfinished, copies, noted)


def _read_back(path: Path, tensors: Mapping[str, "torch.Tensor"], noted: Mapping[str, str]) -> None:
    """Raise ValueError where the file does not hold what was written."""
    import torch

    with _open(path) as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no mapping
        same = file.metadata() == noted and found.keys() == tensors.keys()
    # As bytes: NaN is not equal to itself.
    if not same or any(not torch.equal(_bytes(found[name]), _bytes(tensors[name])) for name in tensors):
        raise ValueError(f"{path} does not hold what was written: the disk is damaged; check it and start again")


def _bytes(tensor: "torch.Tensor") -> "torch.Tensor":
    import torch

    return tensor.reshape(-1).view(torch.uint8)


def load_weights(path: Path, module: "torch.nn.Module") -> Noted:
    """Load what `save_weights` wrote and return its metadata.

    Raises ValueError where a name is missing, left over, or of another shape: the file belongs to other settings.
    """
    load_tensors(read_weights(path), module, path)
    return read_metadata(path)


def load_tensors(tensors: Mapping[str, "torch.Tensor"], module: "torch.nn.Module", path: Path) -> None:
    """Load tensors that were read from the file `path`. Raises ValueError as `load_weights` does."""
    own = module.state_dict()
    missing, left_over = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    unlike = [name for name in sorted(own.keys() & tensors.keys()) if own[name].shape != tensors[name].shape]
    if missing or left_over or unlike:
        problems = {"missing": missing, "not in the network": left_over, "of another shape": unlike}
        found = "; ".join(f"{len(names)} {what}, such as {names[:3]}" for what, names in problems.items() if names)
        raise ValueError(f"{path} does not fit the network: {found}; it was made under other settings: train again")
    module.load_state_dict(tensors)


def read_weights(path: Path, *, start: str = "") -> dict[str, "torch.Tensor"]:
    """The tensors of a safetensors file whose names start so, without that start, on the CPU.

    Raises ValueError where the file is missing or damaged, or where a tensor holds NaN or infinity.
    """
    with _open(path) as file:
        names = [name for name in file.keys() if name.startswith(start)]  # noqa: SIM118 - the file is no mapping
        tensors = {name: file.get_tensor(name) for name in names}
    if broken := not_finite(tensors):
        raise ValueError(
            f"{path} holds numbers that are not finite in {len(broken)} of {len(names)} tensors, such as {broken[:3]}; "
            "its training went astray: train again at a lower learning rate, or fetch the file again"
        )
    return {name.removeprefix(start): tensor for name, tensor in tensors.items()}


def not_finite(tensors: Mapping[str, "torch.Tensor"]) -> list[str]:
    """Names of the tensors that hold NaN or infinity. Floats of 8 bits and less are not looked at."""
    floats = {name: one for name, one in tensors.items() if one.is_floating_point() and one.element_size() > 1}
    return [name for name, tensor in floats.items() if not bool(tensor.isfinite().all())]


def read_metadata(path: Path) -> Noted:
    """What `save_weights` noted; empty for files that something else wrote. Raises ValueError where it is damaged."""
    with _open(path, framework="numpy") as file:
        return Noted(path, (file.metadata() or {}).get(METADATA, "{}"))


def read_trained(path: Path, *, step: str, classes: list[str], listed: Path) -> Noted:
    """What `save_weights` noted of weights that are to predict: written by `step`, for the classes of file `listed`.

    Raises ValueError for weights of another step or of other classes, or that note none.
    """
    metadata = read_metadata(path)
    if metadata.get("step") != step:
        raise ValueError(f"{path} was not written by {step}, but by {metadata.get('step')!r}; give its weights")
    if metadata["classes"] != classes:
        raise ValueError(
            f"{path} knows classes {metadata['classes']}, {listed} holds {classes}; "
            "predict on a data set of the same classes, or train again"
        )
    return metadata


def weights_digest(path: Path) -> str:
    """Digest of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: Path, *, framework: str = "pt") -> safe_open:
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}; check the path, or run `snakemake {path}` if a stage makes it")
    try:
        return safe_open(path, framework=framework)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file or was cut off ({error}); fetch or make it again") from error
