"""What an artifact's file holds, checked against the declaration of its records before any of it is used."""

import dataclasses
import json
from typing import Any

import h5py
import numpy as np

from stages.core.artifacts.records import TEXT, Record, is_optional


@dataclasses.dataclass(frozen=True)
class Layout:
    """All of an artifact but its values: small, and asked for at every read.

    Attributes:
        header: what is true of all images.
        fingerprint: digest of the content.
        provenance: step, settings, seed and inputs that made the file.
        ids: of the images, N of them.
        absent: optional fields that the file lacks.
        offsets: (N + 1,) int64 of each field with axes: image i owns values[offsets[i]:offsets[i + 1]].
        shapes: (N, axes) int32 of each field with axes.
    """

    header: dict[str, Any]
    fingerprint: str
    provenance: dict[str, Any]
    ids: list[str]
    absent: frozenset[str]
    offsets: dict[str, np.ndarray]
    shapes: dict[str, np.ndarray]


def read_layout(file: h5py.File, record: type[Record]) -> Layout:
    """The layout of an artifact of the record's kind.

    Raises ValueError, without the name of the file, where a part is missing, of another type, or of another size than
    the others say; LookupError, OSError and others of h5py where the file is damaged.
    """
    fields = dataclasses.fields(record)
    absent = frozenset(field.name for field in fields if is_optional(field) and field.name not in file)
    ids = [str(image) for image in _dataset(file, "image/values", 1).asstr()[:]]
    if len(set(ids)) < len(ids):
        raise ValueError("an image occurs twice")
    offsets, shapes = {}, {}
    for field in fields:
        if field.name in absent:
            continue
        values = _values(file, field)
        if field.metadata["axes"]:
            offsets[field.name], shapes[field.name] = _ragged(file, field, len(ids), len(values))
        elif len(values) != len(ids):
            raise ValueError(f"it has {len(values)} values of {field.name} for {len(ids)} images")
    return Layout(
        header=_object(file, "header"),
        fingerprint=_text(file, "fingerprint"),
        provenance={
            "step": _text(file, "step"),
            "settings": _json(file, "settings"),
            "seed": int(file.attrs["seed"]),
            "inputs": _object(file, "inputs"),
        },
        ids=ids,
        absent=absent,
        offsets=offsets,
        shapes=shapes,
    )


def _values(file: h5py.File, field: dataclasses.Field) -> h5py.Dataset:
    values, expected = _dataset(file, f"{field.name}/values", 1), field.metadata["dtype"]
    fits = h5py.check_string_dtype(values.dtype) if expected == TEXT else values.dtype == np.dtype(expected)
    if not fits:
        raise ValueError(f"its {field.name} are {values.dtype}, expected {expected}")
    return values


def _ragged(file: h5py.File, field: dataclasses.Field, images: int, values: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and shapes of a field with axes, which agree with the number of images and of values."""
    name, axes = field.name, field.metadata["axes"]
    offsets, shapes = _dataset(file, f"{name}/offsets", 1), _dataset(file, f"{name}/shapes", 2)
    if offsets.shape != (images + 1,) or shapes.shape != (images, len(axes)):
        raise ValueError(f"its {name} have offsets {offsets.shape} and shapes {shapes.shape} for {images} images")
    if offsets.dtype != np.int64 or shapes.dtype != np.int32:
        raise ValueError(f"its {name} have offsets of {offsets.dtype} and shapes of {shapes.dtype}")
    starts, sides = offsets[:], shapes[:]
    sizes = np.prod(sides, axis=1, dtype=np.float64)  # where int64 would wrap around
    if starts[0] or starts[-1] != values or (sides < 0).any() or not np.array_equal(np.diff(starts), sizes):
        raise ValueError(f"its {name} are cut in other pieces than their offsets and shapes say")
    for axis, length in enumerate(axes):
        if isinstance(length, int) and (sides[:, axis] != length).any():
            raise ValueError(f"its {name} have an axis of another length than {length}")
    return starts, sides


def _dataset(file: h5py.File, path: str, axes: int) -> h5py.Dataset:
    item = file.get(path)
    if not isinstance(item, h5py.Dataset) or item.ndim != axes:
        raise ValueError(f"it lacks {path}, an array with {axes} axes")
    return item


def _text(file: h5py.File, name: str) -> str:
    value = file.attrs.get(name)
    if not isinstance(value, str):
        raise ValueError(f"it lacks the attribute {name!r}, a text")
    return value


def _json(file: h5py.File, name: str) -> Any:
    try:
        return json.loads(_text(file, name))
    except RecursionError as error:
        raise ValueError(f"its attribute {name!r} is nested too deeply") from error


def _object(file: h5py.File, name: str) -> dict[str, Any]:
    value = _json(file, name)
    if not isinstance(value, dict):
        raise ValueError(f"its attribute {name!r} is no JSON object")
    return value
