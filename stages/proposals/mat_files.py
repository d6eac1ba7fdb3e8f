"""Reads COB and MCG proposals from MATLAB files, versions 4 to 7 (SciPy) and 7.3 (HDF5)."""

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from stages.proposals.imported import MaskList, SuperpixelList

_LAYOUTS = (
    "`maskmat` (cell of masks, or array regions x height x width), "
    "`superpixels` with `labels` (cell of 1-based ids) and perhaps `scores`, at the top or in a struct `proposals`, "
    "or `masks` (array height x width x regions)"
)
# What SciPy and h5py raise on damaged files, besides their own error.
DAMAGED = (MatReadError, OSError, ValueError, TypeError, LookupError, EOFError, NotImplementedError, zlib.error)


def read_mat(path: Path) -> MaskList | SuperpixelList:
    """The regions of one image.

    Raises:
        ValueError: the file is cut off or no MATLAB file, or its variables follow no known layout; names both.
    """
    try:
        variables = _read_hdf5(path) if h5py.is_hdf5(path) else _read_classic(path)
    except DAMAGED as error:
        raise ValueError(
            f"{path} cannot be read as a MATLAB file ({error}): it is cut off or damaged; fetch it again"
        ) from error
    inside = {**variables, **variables.get("proposals", {})} if _is_struct(variables.get("proposals")) else variables
    if "maskmat" in inside:
        return _from_maskmat(inside, path)
    if "superpixels" in inside and "labels" in inside:
        return _from_superpixels(inside, path)
    if "masks" in inside:
        return _from_stack(np.moveaxis(_array(inside["masks"], "masks", 3, path), 2, 0), inside)
    raise ValueError(
        f"{path} has the variables {_outline(variables)}, which is no known layout; expected {_LAYOUTS}: "
        "save the proposals in one of these"
    )


def _from_maskmat(variables: dict[str, Any], path: Path) -> MaskList:
    masks = variables["maskmat"]
    if not isinstance(masks, list):
        return _from_stack(_array(masks, "maskmat", 3, path), variables)
    for i, mask in enumerate(masks):
        _array(mask, f"maskmat cell {i + 1}", 2, path)
    return MaskList(len(masks), lambda i: masks[i] != 0, _scores(variables))


def _from_stack(masks: np.ndarray, variables: dict[str, Any]) -> MaskList:
    return MaskList(len(masks), lambda i: masks[i] != 0, _scores(variables))


def _from_superpixels(variables: dict[str, Any], path: Path) -> SuperpixelList:
    superpixels = _array(variables["superpixels"], "superpixels", 2, path).astype(np.int64)
    labels = variables["labels"]
    if not isinstance(labels, list):
        raise ValueError(f"{path}: `labels` is no cell, expected a cell of id vectors, one per region; save it as one")
    count = int(superpixels.max(initial=0))
    if superpixels.min(initial=1) < 1:
        raise ValueError(f"{path}: `superpixels` holds id {superpixels.min()}, expected ids from 1; it was damaged")
    regions = np.zeros((len(labels), count), dtype=bool)
    for i, ids in enumerate(labels):
        ids = np.asarray(ids).reshape(-1).astype(np.int64)
        if ids.size and (ids.min() < 1 or ids.max() > count):
            raise ValueError(
                f"{path}: region {i + 1} names superpixels {ids.min()} to {ids.max()}, but `superpixels` holds 1 to "
                f"{count}; labels and superpixels are of different images"
            )
        regions[i, ids - 1] = True
    return SuperpixelList(superpixels - 1, regions, _scores(variables))


def _scores(variables: dict[str, Any]) -> np.ndarray | None:
    scores = variables.get("scores")
    return None if scores is None or np.size(scores) == 0 else np.asarray(scores, dtype=np.float64).reshape(-1)


def _array(value: Any, name: str, axes: int, path: Path) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.ndim != axes or value.dtype.kind not in "buif":
        found = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"{path}: {name} is {found}, expected numbers with {axes} axes; expected {_LAYOUTS}")
    return value


def _is_struct(value: Any) -> bool:
    return isinstance(value, dict)


def _outline(variables: dict[str, Any]) -> str:
    """Names of what a file holds, with the fields of structs."""
    names = [f"{name} ({', '.join(sorted(v))})" if _is_struct(v) else name for name, v in sorted(variables.items())]
    return ", ".join(names) or "(none)"


def _read_classic(path: Path) -> dict[str, Any]:
    """Variables of a file before version 7.3: structs as dicts, cells as lists."""
    _check_whole(path)
    # The repacks carry wrong checksums in places where the data are whole (noted in the code of CIM).
    variables = scipy.io.loadmat(path, verify_compressed_data_integrity=False)
    return {name: _plain(value) for name, value in variables.items() if not name.startswith("__")}


def _check_whole(path: Path) -> None:
    """Raise EOFError where the file ends inside a variable, whose checksum is not looked at (MAT-file format, 1-9)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(128)
        if header[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
            return  # version 4, or no MATLAB file: SciPy knows
        order = "<" if header.endswith(b"IM") else ">"
        while tag := file.read(8):
            length = struct.unpack(f"{order}4xI", tag)[0] if len(tag) == 8 else size
            if file.seek(length, os.SEEK_CUR) > size:
                raise EOFError("it ends within a variable")


def _plain(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names:
        first = value.reshape(-1)
        return {name: _plain(first[0][name]) for name in value.dtype.names} if len(first) else {}
    if value.dtype == object:
        return [_plain(cell) for cell in value.reshape(-1, order="F")]
    return value


def _read_hdf5(path: Path) -> dict[str, Any]:
    """Variables of a file of version 7.3: structs as dicts, cells as lists, axes in MATLAB's order."""
    with h5py.File(path, "r", locking=False) as file:
        return {name: _from_hdf5(item, file) for name, item in file.items() if not name.startswith("#")}


def _from_hdf5(item: h5py.Group | h5py.Dataset, file: h5py.File) -> Any:
    if isinstance(item, h5py.Group):
        return {name: _from_hdf5(member, file) for name, member in item.items()}
    if item.attrs.get("MATLAB_empty", 0):
        return [] if item.attrs.get("MATLAB_class") == b"cell" else np.zeros(0)
    if item.dtype == h5py.ref_dtype:
        return [_from_hdf5(file[reference], file) for reference in item[()].reshape(-1)]
    # MATLAB stores columns first, HDF5 rows first: the axes appear reversed.
    return np.transpose(item[()])
