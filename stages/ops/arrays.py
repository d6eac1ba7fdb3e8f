"""The few array operations that NumPy and torch spell differently, so that the algebra is written once.

torch is loaded only where a tensor is given, so that steps without a network start fast.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

if TYPE_CHECKING:
    import torch

    Array: TypeAlias = np.ndarray | torch.Tensor
else:
    Array = Any


def is_tensor(array: Any) -> "TypeGuard[torch.Tensor]":
    """Whether this is a torch tensor: without torch loaded there is none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def library(array: Array) -> Any:
    """The module that the array belongs to, torch or numpy."""
    if not is_tensor(array):
        return np
    import torch

    return torch


def as_numpy(array: Array) -> np.ndarray:
    """The same values as a NumPy array on the host."""
    return array.detach().cpu().numpy() if is_tensor(array) else array


def is_bool(array: Array) -> bool:
    """Whether the array holds truth values."""
    return array.dtype == library(array).bool if is_tensor(array) else array.dtype == np.dtype(bool)


def is_float(array: Array) -> bool:
    """Whether the array holds floating-point numbers."""
    return array.is_floating_point() if is_tensor(array) else np.issubdtype(array.dtype, np.floating)


def as_index(array: Array) -> Array:
    """The same integers in the type that indexes fastest: intp in NumPy, int64 in torch."""
    return array.long() if is_tensor(array) else array.astype(np.intp, copy=False)


def as_int32(array: Array) -> Array:
    """The same values as int32."""
    return array.int() if is_tensor(array) else array.astype(np.int32, copy=False)


def as_int64(array: Array) -> Array:
    """The same values as int64."""
    return array.long() if is_tensor(array) else array.astype(np.int64, copy=False)


def as_float32(array: Array) -> Array:
    """The same values as float32."""
    return array.float() if is_tensor(array) else array.astype(np.float32, copy=False)


def as_float64(array: Array) -> Array:
    """The same values as float64."""
    return array.double() if is_tensor(array) else array.astype(np.float64, copy=False)


def like(array: Array, model: Array) -> Array:
    """The same values in the type of `model`."""
    return array.to(model.dtype) if is_tensor(array) else array.astype(model.dtype, copy=False)


def columns(matrix: Array, index: Array) -> Array:
    """Columns of an (N, A) matrix picked by integers (...), as (N, ...) row by row in memory.

    `matrix[:, index]` would leave NumPy arrays column by column in memory, slow for all that reads them by rows.
    """
    if is_tensor(matrix):
        return matrix.index_select(1, as_index(index.reshape(-1))).reshape(len(matrix), *index.shape)
    return matrix.take(index, axis=1)


def concatenate(arrays: Sequence[Array]) -> Array:
    """The arrays one after the other along the first axis."""
    return library(arrays[0]).cat(list(arrays)) if is_tensor(arrays[0]) else np.concatenate(arrays)


def stack(arrays: Sequence[Array], axis: int) -> Array:
    """Arrays of one shape along a new axis."""
    return library(arrays[0]).stack(list(arrays), axis) if is_tensor(arrays[0]) else np.stack(arrays, axis)


def arange(count: int, model: Array) -> Array:
    """0 .. count - 1 as int64, beside `model`."""
    return library(model).arange(count, device=model.device) if is_tensor(model) else np.arange(count)


def ones_like(array: Array) -> Array:
    """Ones in the shape and type of `array`."""
    return library(array).ones_like(array)


def where(condition: Array, values: Array, fill: float) -> Array:
    """`values` where the condition holds, else `fill`, in the type of `values`."""
    if is_tensor(condition):
        return library(condition).where(condition, values, fill)
    return np.where(condition, values, values.dtype.type(fill))


def pairwise_max(values: Array, others: Array) -> Array:
    """The greater of each value (N,) and each other (M,), (N, M) float64."""
    return library(values).maximum(as_float64(values)[:, None], as_float64(others)[None])


def pairwise_min(values: Array, others: Array) -> Array:
    """The smaller of each value (N,) and each other (M,), (N, M) float64."""
    return library(values).minimum(as_float64(values)[:, None], as_float64(others)[None])


def total(values: Array, groups: Array, count: int) -> Array:
    """Sum of int64 values per group, (count,) int64."""
    if is_tensor(values):
        return values.new_zeros(count).scatter_add_(0, groups, values)
    sums = np.zeros(count, np.int64)
    np.add.at(sums, groups, values)
    return sums
