"""Folders of files for other programs that appear whole or not at all."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from stages.core.artifacts.disk import full_disk, is_full, sync_folder
from stages.core.artifacts.files import prepare_folder
from stages.core.artifacts.writers import beside


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` to fill; rename it to `path` when the block ends without an error.

    An older folder at `path` is replaced then, and stays as it was on any error; the unfinished one is removed. A full
    disk raises an OSError that names the folder and what to do.
    """
    prepare_folder(path.parent)
    unfinished, older = beside(path), beside(path, "older")
    unfinished.mkdir()
    try:
        yield unfinished
        if path.exists():
            path.replace(older)
        unfinished.replace(path)
        sync_folder(path.parent)
    except Exception as error:
        if is_full(error):
            raise full_disk(path) from error
        raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(older, ignore_errors=True)


def file_in(folder: Path, image: str, suffix: str) -> Path:
    """Path of an image's file in a folder, its subfolders made; ids may hold '/'."""
    path = folder / f"{image}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
