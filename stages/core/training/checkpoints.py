"""Checkpoints: everything a killed training needs to go on as if nothing had happened."""

import contextlib
import hashlib
import logging
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from stages.core.artifacts.disk import NotingFile
from stages.core.artifacts.files import whole_file
from stages.core.training.folder import CHECKPOINT, is_finished, remove_kept

log = logging.getLogger(__name__)
# What zipfile raises on damaged bytes, and `_read` on what they hold.
DAMAGED = (
    zipfile.BadZipFile,
    ValueError,
    OSError,
    EOFError,
    LookupError,
    RuntimeError,
    OverflowError,
    struct.error,
    zlib.error,
)


def save_checkpoint(folder: Path, state: dict[str, Any], *, identity: str) -> None:
    """Write tensors and plain containers, whole or not at all."""
    with whole_file(folder / CHECKPOINT) as unfinished, NotingFile(unfinished) as disk:
        torch.save({"identity": identity, "state": state}, disk)


def find_checkpoint(folder: Path, *, identity: str) -> dict[str, Any] | None:
    """The state of an earlier process on the same work, or None.

    A checkpoint of other settings, inputs or code is kept under another name and not used: going on from it would give
    a network that no settings describe. So is one that is damaged, by as much as a bit of a tensor. That of a training
    that had reached its end is removed. Of several processes one alone may call this while others could.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        found = _read(path)
    except PermissionError:
        raise
    except DAMAGED as error:
        _set_aside(path, "damaged", f"is damaged ({error})")
        return None
    if found["identity"] == identity:
        return found["state"]
    if is_finished(folder):
        log.info("%s is of a finished training with other settings, inputs or code; removed", path)
        remove_kept(folder)
        return None
    digest = hashlib.sha256(found["identity"].encode()).hexdigest()[:12]
    _set_aside(path, digest, "is of other settings, inputs or code")
    return None


def _read(path: Path) -> dict[str, Any]:
    """Identity and state. Raises what DAMAGED says where the file is not as it was written."""
    with zipfile.ZipFile(path) as file:  # torch writes a checksum of every tensor, but does not look at it
        broken = file.testzip()
    if broken is not None:
        raise ValueError(f"wrong checksum of {broken}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what `weights_only` refuses has a class of another library
        raise ValueError(" ".join(str(error).split())[:120]) from error
    if not isinstance(found, dict) or not isinstance(found.get("identity"), str) or "state" not in found:
        raise ValueError("it holds no identity or no state")
    return found


def _set_aside(path: Path, word: str, why: str) -> None:
    aside = path.with_name(f"checkpoint.{word}.pt")
    with contextlib.suppress(FileNotFoundError):  # another process of the same training was first
        path.replace(aside)
        log.warning("%s %s; set aside as %s, training starts anew", path, why, aside.name)
