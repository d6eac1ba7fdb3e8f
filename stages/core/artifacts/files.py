"""Files that appear whole or not at all."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from stages.core.artifacts.disk import full_disk, is_full, sync_folder
from stages.core.artifacts.writers import beside, remove_leftovers


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it to `path` when the block ends without an error.

    By then the file must be closed; it is on the disk before it has its name. On any error the unfinished file is
    removed and an older file at `path` stays as it was. A full disk raises an OSError that names the file and what to
    do, whatever the library that met it made of it. The file gets the permissions of any new file, whatever wrote it;
    what killed writers have left in the folder is removed.
    """
    unfinished = beside(path)
    try:
        prepare_folder(path.parent)
        unfinished.touch()
        permissions = unfinished.stat().st_mode
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fchmod(file.fileno(), permissions)  # some libraries write files that others cannot read
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)
    except Exception as error:
        if is_full(error):
            raise full_disk(path) from error
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def prepare_folder(folder: Path) -> None:
    """Make a folder, and remove what dead writers have left in it, once per process."""
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder.absolute())


@cache
def _clear(folder: Path) -> None:
    remove_leftovers(folder)


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented JSON with sorted keys; NaN is refused (ValueError)."""
    write_text(path, json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes."""
    with whole_file(path) as unfinished:
        unfinished.write_bytes(data)
        if unfinished.read_bytes() != data:
            raise OSError(errno.EIO, f"{path}: the disk does not hold what was written; check it and start again")


def read_json(path: Path) -> Any:
    """Read JSON. Raises ValueError naming the file where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); it is damaged or another kind of file: remake it") from error
