"""Variables of MATLAB files, versions 4 to 7 (SciPy) and 7.3 (HDF5), as mappings, lists and arrays.

The files come from elsewhere, and a few damaged bytes in one of version 5 end the process that has SciPy read it. So
`variables_of` has a child process read them.
"""

import os
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from stages.core.artifacts.hdf5 import RefusedError, check_dataset, check_heaps, forbid_plugins, look_through, size_of
from stages.core.workflow.contained import Contained

LARGEST = 2 << 30  # bytes that the arrays of one file may take
DEEPEST = 32  # cells and structs within each other
MOST_ITEMS = 50_000  # cells and fields of one file
LARGEST_TEXT = "save fewer regions in it, masks as logical or uint8, or `superpixels` with `labels`"


def read_variables(path: Path) -> dict[str, Any]:
    """All variables: structs as mappings (of an array of them the first), cells as lists, in MATLAB's order of axes.

    What is no array of numbers, cell or struct is None, or an array of another dtype. Raises RefusedError for HDF5 that
    no file should hold and for more than `LARGEST` bytes, and whatever SciPy and h5py raise on damaged files.
    """
    return _of_hdf5(path) if h5py.is_hdf5(path) else _of_classic(path)


variables_of = Contained(read_variables, kind="a MATLAB file")


def is_hdf5(path: Path) -> bool:
    """Whether the file is of version 7.3."""
    return path.is_file() and bool(h5py.is_hdf5(path))


def _of_classic(path: Path) -> dict[str, Any]:
    import scipy.io

    _check_whole(path)
    # The repacks of COB carry wrong checksums in places where the data are whole (noted in the code of CIM).
    variables = scipy.io.loadmat(path, verify_compressed_data_integrity=False)
    return {name: _plain(value, DEEPEST) for name, value in variables.items() if not name.startswith("__")}


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


def _plain(value: Any, depth: int) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if depth == 0:
        raise RefusedError(f"has more than {DEEPEST} cells and structs within each other, and is not read")
    if value.dtype.names:
        first = value.reshape(-1)
        return {name: _plain(first[0][name], depth - 1) for name in value.dtype.names} if len(first) else {}
    if value.dtype == object:
        return [_plain(cell, depth - 1) for cell in value.reshape(-1, order="F")]
    return value


def _of_hdf5(path: Path) -> dict[str, Any]:
    forbid_plugins()
    check_heaps(path)
    with h5py.File(path, "r", locking=False) as file:
        look_through(file)
        return _loaded(_Outline(file).variables())


class _Outline:
    """What a file of version 7.3 holds, within the limits of a file, before any array is read."""

    def __init__(self, file: h5py.File) -> None:
        self._file, self._items, self._bytes = file, 0, 0

    def variables(self) -> dict[str, Any]:
        """Structs as mappings, cells as lists, arrays as datasets."""
        return {name: self._of(item, DEEPEST) for name, item in self._file.items() if not name.startswith("#")}

    def _of(self, item: Any, depth: int) -> Any:
        self._items += 1
        if self._items > MOST_ITEMS:
            raise RefusedError(f"has more than {MOST_ITEMS} cells and fields, counted as often as they are referred to")
        if depth == 0:
            raise RefusedError(f"has more than {DEEPEST} cells and structs within each other, or one in itself")
        if isinstance(item, h5py.Group):
            return {name: self._of(member, depth - 1) for name, member in item.items()}
        if not isinstance(item, h5py.Dataset):
            return None
        self._bytes += check_dataset(item.id, "a cell")  # what cells refer to may stand in no group
        if self._bytes > LARGEST:
            raise RefusedError(
                f"declares {size_of(self._bytes)} and more, expected {size_of(LARGEST)} at most: {LARGEST_TEXT}"
            )
        if item.attrs.get("MATLAB_empty", 0):
            return [] if item.attrs.get("MATLAB_class") == b"cell" else np.zeros(0)
        if item.dtype == h5py.ref_dtype:
            return [self._of(self._file[reference], depth - 1) for reference in np.ravel(item[()])]
        return item if item.dtype.kind in "buif" else None


def _loaded(outline: Any) -> Any:
    if isinstance(outline, dict):
        return {name: _loaded(inner) for name, inner in outline.items()}
    if isinstance(outline, list):
        return [_loaded(inner) for inner in outline]
    # MATLAB stores columns first, HDF5 rows first: the axes appear reversed.
    return np.transpose(outline[()]) if isinstance(outline, h5py.Dataset) else outline
