"""Step: takes over an artifact that another project has made, and notes where it comes from."""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

from stages.borrowing.checks import described_artifact, described_weights
from stages.borrowing.settings import BorrowedSettings
from stages.core.artifacts.files import read_json, whole_file, write_json
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import REMEDY, read
from stages.core.workflow import step

log = logging.getLogger(__name__)


def borrow_artifact(
    *,
    artifact: Path,
    listed: Path | None,
    earlier: Path | None,
    images: Path,
    output: Path,
    output_note: Path,
    settings: BorrowedSettings,
) -> None:
    """Copy an artifact of another project byte for byte, once it fits the images of this one.

    Args:
        artifact: file in the other project's results, which is read and never changed.
        listed: images.h5 of the same split there; None for weights, which know classes and no images.
        earlier: the note beside the artifact where the other project has borrowed it, too; None: it has made it.
        images: images.h5 of this project, of the split that the artifact is of; weights: of the training split.
        output: the copy.
        output_note: JSON: where the artifact comes from, what made it from which settings, its digest, and `earlier`.
        settings: what the artifact must be.

    Raises:
        FileNotFoundError: the artifact is not there.
        ValueError: it is of another kind, schema or step, damaged, or of other images or classes; it was borrowed from
            this project; or it has changed meanwhile.
    """
    before = None if earlier is None else _read_note(earlier)
    _check_no_circle(before, output, settings.name)
    digest = _digest(artifact)
    with read(images, ImageRecord) as own:
        try:
            if settings.kind == "weights":
                found = described_weights(artifact, own, settings)
            else:
                found = described_artifact(artifact, listed, own, settings)
        except ValueError as error:
            # Whoever lends it decides what is removed there.
            reason = str(error).replace(REMEDY, "make it again there, with this version of tagmask")
            raise ValueError(f"{settings.name} cannot be borrowed: {reason}") from error
    with whole_file(output) as unfinished:
        shutil.copyfile(artifact, unfinished)
        if _digest(unfinished) != digest:
            raise ValueError(
                f"{artifact} has changed while it was copied; wait until the other project has made it, and run again"
            )
    note = {
        "name": settings.name,
        "from": str(artifact),
        "resolved": str(artifact.resolve()),
        "sha256": digest,
        "bytes": output.stat().st_size,
    }
    write_json(output_note, {**note, **found, "earlier": before})
    log.info("%s is borrowed: %s, made by %s there, sha256 %s", settings.name, artifact, found["step"], digest[:12])


def _digest(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises FileNotFoundError where there is none."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; make it in the project that it is borrowed from")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_note(path: Path) -> dict[str, Any]:
    note = read_json(path)
    if not isinstance(note, dict) or not isinstance(note.get("from"), str):
        raise ValueError(f"{path} does not say where its artifact comes from; run again in the project that it is of")
    return note


def _check_no_circle(note: dict[str, Any] | None, output: Path, name: str) -> None:
    """Raise ValueError where what is borrowed was borrowed from here."""
    while isinstance(note, dict):
        if note.get("resolved") == str(output.resolve()):
            raise ValueError(
                f"{name} cannot be borrowed: the other project has borrowed it from {output}; make it in one of both,"
                " and borrow it in the other"
            )
        note = note.get("earlier")


if __name__ == "__main__":
    step.run(borrow_artifact)
