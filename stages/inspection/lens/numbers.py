"""Ranges of stored numbers, and arrays in a few words."""

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

BLOCK = 1 << 22  # values that are read at once: memory stays constant
MOST_VALUES = 50_000_000  # of a field; of larger ones blocks spread evenly over the field are read, and it says so
SHOWN_VALUES = 8  # arrays up to this size are shown whole


def value_range(values: h5py.Dataset) -> dict[str, Any]:
    """Least and largest finite number of a dataset (n,), how many are not finite, and how many were looked at.

    `least` and `largest` are None where no number is finite.
    """
    least = largest = None
    broken = seen = 0
    for block in _blocks(values):
        finite = block[np.isfinite(block)] if block.dtype.kind == "f" else block
        broken += len(block) - len(finite)
        seen += len(block)
        if len(finite):
            low, high = finite.min().item(), finite.max().item()
            least = low if least is None else min(least, low)
            largest = high if largest is None else max(largest, high)
    return {"least": least, "largest": largest, "not_finite": broken, "looked_at": seen}


def _blocks(values: h5py.Dataset) -> Iterator[np.ndarray]:
    starts = np.arange(0, len(values), BLOCK)
    wanted = MOST_VALUES // BLOCK
    if len(starts) > wanted:
        starts = starts[np.linspace(0, len(starts) - 1, wanted).round().astype(int)]
    for start in starts.tolist():
        yield values[start : start + BLOCK]


def in_short(value: Any) -> dict[str, Any]:
    """One image's value of a field: its dtype and shape, and the values themselves where they are few, else a range."""
    if value is None or isinstance(value, str):
        return {"value": value}
    array = np.asarray(value)
    if not array.ndim:
        return {"value": _json(array)}
    short: dict[str, Any] = {"dtype": str(array.dtype), "shape": list(array.shape)}
    if array.size <= SHOWN_VALUES:
        return {**short, "value": _json(array)}
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if array.dtype == bool:
        return {**short, "true": int(array.sum())}
    if not finite.size:
        return {**short, "least": None, "largest": None}
    return {**short, "least": _json(finite.min()), "largest": _json(finite.max()), "mean": float(finite.mean())}


def _json(array: Any) -> Any:
    """Numbers of an array as JSON has them; what is not finite as text."""
    if isinstance(array, np.ndarray) and array.ndim:
        return [_json(item) for item in array]
    number = np.asarray(array).item()
    return str(number) if isinstance(number, float) and not np.isfinite(number) else number
