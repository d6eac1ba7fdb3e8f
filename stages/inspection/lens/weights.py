"""Describes weights: what they note of themselves, their tensors, and the numbers in these."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from stages.core.networks.weights import read_metadata

LARGEST = 8  # tensors that are named
READABLE = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL"}  # dtypes that NumPy has


def describe_weights(path: Path) -> dict[str, Any]:
    """All that the lens says of a safetensors file. Raises as `read_metadata`, and ValueError where it is damaged."""
    metadata = read_metadata(path)
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = [_tensor(file, name) for name in file.keys()]  # noqa: SIM118 - the file is no mapping
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: a tensor cannot be read ({error}); fetch or make it again") from error
    parts: dict[str, int] = {}
    for tensor in tensors:
        part = tensor["name"].partition(".")[0]
        parts[part] = parts.get(part, 0) + tensor["numbers"]
    return {
        "what": "weights",
        "path": str(path),
        "bytes": path.stat().st_size,
        "metadata": metadata,
        "tensors": tensors,
        "numbers": sum(tensor["numbers"] for tensor in tensors),
        "numbers_by_part": parts,
        "not_finite": sum(tensor.get("not_finite", 0) for tensor in tensors),
    }


def _tensor(file: Any, name: str) -> dict[str, Any]:
    part = file.get_slice(name)
    shape, dtype = list(part.get_shape()), part.get_dtype()
    found = {"name": name, "dtype": dtype, "shape": shape, "numbers": int(np.prod(shape, dtype=np.int64))}
    if dtype not in READABLE or not found["numbers"]:
        return found
    values = file.get_tensor(name)
    finite = values[np.isfinite(values)]
    if finite.size:
        found |= {"least": finite.min().item(), "largest": finite.max().item()}
    return {**found, "not_finite": int(values.size - finite.size)}
