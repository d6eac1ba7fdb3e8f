"""Finds the files that an artifact is drawn with: the images, and what it was made from, in its results folder."""

import contextlib
from pathlib import Path
from typing import Any

import h5py

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Artifact, read

LEVELS = 5  # folders above an artifact that may be its data set's: {dataset}/{run}/{part}/{split}/instances.h5
PATTERNS = ("*.h5", "*/*.h5", "*/*/*.h5")  # below the data set's folder


def find_images(artifact: Artifact[Any]) -> Path:
    """The images.h5 that an artifact was made from; where it names none, one with its images and classes.

    Raises ValueError where the folders above it have none.
    """
    folder = _dataset(artifact.path)
    listed = [] if folder is None else sorted(folder.glob("*/images.h5"))
    inputs = artifact.provenance["inputs"].values()
    made_from = {entry["fingerprint"] for entry in inputs if entry["kind"] == ImageRecord.KIND}
    for path in listed:
        if _attribute(path, "fingerprint") in made_from if made_from else _fits(artifact, path):
            return path
    raise ValueError(f"no images.h5 with the images of {artifact.path} lies in the folders above it; give --images")


def _fits(artifact: Artifact[Any], path: Path) -> bool:
    """Whether a list of images has an artifact's images and classes."""
    with read(path, ImageRecord) as images:
        same = artifact.header.get("classes", images.header["classes"]) == images.header["classes"]
        return same and set(artifact.ids) <= set(images.ids)


def find_source(artifact: Artifact[Any], kind: str) -> Path:
    """The artifact of a kind that this one was made from. Raises ValueError where it is not in the results folder."""
    inputs = artifact.provenance["inputs"]
    wanted = {entry["fingerprint"] for entry in inputs.values() if entry["kind"] == kind}
    folder = _dataset(artifact.path)
    for pattern in PATTERNS if folder is not None and wanted else ():
        for path in sorted(folder.glob(pattern)):
            if _attribute(path, "kind") == kind and _attribute(path, "fingerprint") in wanted:
                return path
    raise ValueError(
        f"{artifact.path} is drawn on the {kind} that it was made from, which are not in its results folder; "
        f"run `snakemake` for them, or put them back"
    )


def ground_truth_beside(images: Path) -> Path | None:
    """The annotated instances that stand beside a list of images, where there are any."""
    path = images.with_name("ground_truth.h5")
    return path if path.is_file() and _attribute(path, "kind") == GroundTruth.KIND else None


def _dataset(path: Path) -> Path | None:
    """The folder above a file that holds splits."""
    above = path.resolve().parents[:LEVELS]
    return next((folder for folder in above if any(folder.glob("*/images.h5"))), None)


def _attribute(path: Path, name: str) -> Any:
    """An attribute of an HDF5 file; None where it cannot be asked."""
    with contextlib.suppress(OSError), h5py.File(path, "r", locking=False) as file:
        return file.attrs.get(name)
    return None
