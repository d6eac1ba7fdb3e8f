"""Opens HDF5 files that anybody may have made, and those of ours that may be damaged.

HDF5 can do more than hold arrays: data may lie in other files, links may lead anywhere, groups may hold themselves,
filters are loaded from shared libraries, and 2 KB may declare 9 TB. None of it occurs in files of tagmask, or in those
that MATLAB writes. So a file is looked through before anything in it is read, and refused if it does any of this.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import h5py

LARGEST_BLOCK = 256 << 20  # bytes that one chunk may unpack to
DEEPEST = 32  # groups within groups
EXPANSION = 1100  # times that deflate makes data smaller at most is 1032
UNSTORED = 64 << 10  # bytes that may be declared without being stored, as an empty array of MATLAB is
# What HDF5 and h5py have built in: deflate, shuffle, fletcher32, szip, nbit, scale-offset, LZF.
FILTERS = {1, 2, 3, 4, 5, 6, 32000}
LOOKED_AT = 32 << 20  # bytes at each end of a file
HEAP = b"GCOL\x01\0\0\0"
# What h5py raises on a damaged file; MemoryError, where damaged bytes declare a size.
DAMAGED = (OSError, RuntimeError, ValueError, TypeError, LookupError, OverflowError, MemoryError)


class RefusedError(ValueError):
    """The file is not read for what it does; the message says what that is, without the file's name."""


@contextlib.contextmanager
def open_hdf5(path: Path, *, remedy: str) -> Iterator[h5py.File]:
    """Open a file for reading, once it was looked through.

    Args:
        path: of the file.
        remedy: end of messages: what to do about a damaged file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no HDF5 or was cut off, or its structure is damaged; or it reads other files or libraries,
            holds itself, or declares more data than it can hold. The message names file and remedy.
        OSError: the file system does not let it be read, and the file may be whole.

    No lock is asked for: files of ours are renamed to their place when they are whole, and some file systems have none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; {remedy}")
    forbid_plugins()
    try:
        check_heaps(path)
        file = h5py.File(path, "r", locking=False)
    except RefusedError as error:
        raise ValueError(f"{path} {error}; {remedy}") from error
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:  # else HDF5 has read the file and knows better
            reason = os.strerror(error.errno)
            message = (
                f"{path} could not be read ({reason}), but may be whole; keep it, mend the file system, start again"
            )
            raise OSError(error.errno, message) from error
        raise ValueError(f"{path} is no HDF5 file or was cut off ({error}); {remedy}") from error
    with file:
        with naming(path, remedy=remedy):
            look_through(file)
        yield file


@contextlib.contextmanager
def naming(path: Path, *, remedy: str) -> Iterator[None]:
    """Turn what h5py raises on damaged data into a ValueError that names the file and the remedy."""
    try:
        yield
    except RefusedError as error:
        raise ValueError(f"{path} {error}; {remedy}") from error
    except DAMAGED as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); {remedy}") from error


def forbid_plugins() -> None:
    """Forget the folders in which HDF5 looks for libraries of filters."""
    while h5py.h5pl.size():
        h5py.h5pl.remove(0)


def check_heaps(path: Path) -> None:
    """Raise RefusedError where a heap of texts is damaged so that HDF5 never comes to its end. Opens no HDF5.

    An object of no size sends HDF5 2.0 around forever (HDF5 file format, III.E: signature, version, size, objects). Of
    large files the ends are looked at.
    """
    size = path.stat().st_size
    spans = [(0, size)] if size <= 2 * LOOKED_AT else [(0, LOOKED_AT), (size - LOOKED_AT, size)]
    with path.open("rb") as file:
        for start, end in spans:
            file.seek(start)
            data = file.read(end - start)
            at = data.find(HEAP)
            while at >= 0:
                _check_heap(data, at)
                at = data.find(HEAP, at + 1)


def _check_heap(data: bytes, at: int) -> None:
    end = at + int.from_bytes(data[at + 8 : at + 16], "little")
    if end > len(data):
        return  # cut by the span, or HDF5 finds it itself
    place = at + 16
    while place + 16 <= end:
        number, size = (
            int.from_bytes(data[place : place + 2], "little"),
            int.from_bytes(data[place + 8 : place + 16], "little"),
        )
        needed = 16 + -(-size // 8) * 8 if number else size
        if not 16 <= needed <= end - place:
            raise RefusedError("is damaged (a heap of texts whose objects overlap)")
        place += needed


def look_through(file: h5py.File) -> None:
    """Raise RefusedError for what no file should do, or what h5py raises on damaged files; reads no data."""
    groups = {h5py.h5o.get_info(file.id).addr}
    todo = [(file.id, "", 0)]
    while todo:
        group, place, depth = todo.pop()
        members: list[tuple[bytes, int, int]] = []
        group.links.iterate(lambda name, link, found=members: found.append((name, link.type, link.u)), info=True)
        for name, kind, address in members:
            path = f"{place}/{name.decode('utf-8', 'backslashreplace')}"
            if kind != h5py.h5l.TYPE_HARD:
                raise RefusedError(f"has a link at {path!r}, which may lead to other files, and is not read")
            item = h5py.h5o.open(group, name)
            if isinstance(item, h5py.h5d.DatasetID):
                check_dataset(item, path)
            if isinstance(item, h5py.h5g.GroupID):
                if address in groups:
                    raise RefusedError(f"has a group {path!r} that is or holds another one again, and is not read")
                if depth == DEEPEST:
                    raise RefusedError(f"has more than {DEEPEST} groups within each other, and is not read")
                groups.add(address)
                todo.append((item, path, depth + 1))


def check_dataset(dataset: h5py.h5d.DatasetID, path: str) -> int:
    """The bytes that a dataset declares. Raises RefusedError where it reads elsewhere, or declares what it cannot hold.

    Of text of any length only the pointers count.
    """
    made = dataset.get_create_plist()
    # First of all: to ask a virtual dataset for its size opens the others.
    if made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count():
        raise RefusedError(f"has a dataset {path!r} whose data lie in other files, and is not read")
    filters = [made.get_filter(i)[0] for i in range(made.get_nfilters())]
    unknown = sorted(set(filters) - FILTERS)
    if unknown or len(set(filters)) < len(filters):
        what = f"packed by the filters {unknown}, which are no part of HDF5" if unknown else "packed twice"
        raise RefusedError(f"has a dataset {path!r} {what}: save it uncompressed or with gzip")
    width = dataset.get_type().get_size()
    declared = dataset.get_space().get_simple_extent_npoints() * width
    held = dataset.get_storage_size() * EXPANSION + UNSTORED
    if declared > held:
        raise RefusedError(f"declares {size_of(declared)} in {path!r}, but can hold {size_of(held)} at most")
    if made.get_layout() == h5py.h5d.CHUNKED:
        chunk = math.prod(made.get_chunk()) * width
        if chunk > max(LARGEST_BLOCK, declared):
            raise RefusedError(
                f"declares chunks of {size_of(chunk)} in {path!r}, expected {size_of(LARGEST_BLOCK)} at most"
            )
    return declared


def size_of(amount: int) -> str:
    """Bytes for people: 9.1 TB."""
    number, units = float(amount), ["bytes", "KB", "MB", "GB", "TB", "PB", "EB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{number:.3g} {units[0]}"
