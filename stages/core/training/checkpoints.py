"""Checkpoints: everything a killed training needs to go on as if nothing had happened."""

import hashlib
import logging
import zipfile
from pathlib import Path
from typing import Any

import torch

from stages.core.artifacts.disk import NotingFile
from stages.core.artifacts.files import whole_file
from stages.core.training.snapshots import remove_kept

log = logging.getLogger(__name__)
NAME = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any], *, identity: str) -> None:
    """Write tensors and plain containers, whole or not at all."""
    with whole_file(folder / NAME) as unfinished, NotingFile(unfinished) as disk:
        torch.save({"identity": identity, "state": state}, disk)


def find_checkpoint(folder: Path, *, identity: str) -> dict[str, Any] | None:
    """The state of an earlier process on the same work, or None.

    A checkpoint of other settings, inputs or code is kept under another name and not used: going on from it would give
    a network that no settings describe. Raises ValueError for a file that cannot be read.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no checkpoint or was cut off; remove it to train from the start")
    found = torch.load(path, map_location="cpu", weights_only=True)
    if found["identity"] == identity:
        return found["state"]
    digest = hashlib.sha256(found["identity"].encode()).hexdigest()[:12]
    aside = path.with_name(f"checkpoint.{digest}.pt")
    path.replace(aside)
    log.warning("%s is of other settings, inputs or code; set aside as %s, training starts anew", path, aside.name)
    return None


def remove_checkpoint(folder: Path) -> None:
    """Remove checkpoint and snapshots of a training that is done, and the folder where nothing else is in it."""
    (folder / NAME).unlink(missing_ok=True)  # first: without its snapshots it could not be gone on from
    remove_kept(folder)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
