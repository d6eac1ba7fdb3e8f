"""The folder of a training, beside its weights: what lies there, whose it is, and when it may go.

A training that is done keeps its last checkpoint: whoever ends the job then (a time limit, a node that goes away)
makes Snakemake remove the outputs, and the next start writes them again from the checkpoint. It goes when all outputs
are found whole: by the driver at the end of a run without a failure, or by a later start, which then trains anew.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from stages.core.artifacts.files import read_json, write_json
from stages.core.artifacts.writers import remove_leftovers
from stages.core.workflow.processes import Mark, is_alive, mark_of_this_process, named

log = logging.getLogger(__name__)
FOLDER = "checkpoint"
CHECKPOINT = "checkpoint.pt"
SNAPSHOTS = "snapshot.*.safetensors"
FINISHED = "finished.json"  # says which outputs the training has written
OWNER = "owner.json"  # says which process trains


@contextlib.contextmanager
def owned_folder(folder: Path) -> Iterator[None]:
    """Make the folder and mark it as this process's for the time of the block; remove what dead writers left there.

    A mark of a process of this host that is gone is taken over. One of another host, whose processes cannot be asked,
    is warned of: both would write the same, each whole, so that only time is lost.
    Raises ValueError where a process of this host trains there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    path, mine = folder / OWNER, mark_of_this_process()
    while not _written_first(path, mine):
        _take_over(path)
    try:
        yield
    finally:
        if _read(path) == mine:
            path.unlink(missing_ok=True)
        remove_if_empty(folder)


def note_finished(folder: Path, outputs: Iterable[Path]) -> None:
    """Say that the outputs of the training in `folder` are written."""
    sizes = {os.path.relpath(path, folder): path.stat().st_size for path in outputs}
    write_json(folder / FINISHED, {"outputs": sizes})


def is_finished(folder: Path) -> bool:
    """Whether the training in `folder` has written its outputs, whatever became of them."""
    return (folder / FINISHED).is_file()


def forget_finished(folder: Path) -> None:
    """The outputs are about to be written again."""
    (folder / FINISHED).unlink(missing_ok=True)


def remove_kept(folder: Path) -> None:
    """Remove checkpoint, snapshots and note of a training that is done, and the folder where nothing else is in it."""
    (folder / CHECKPOINT).unlink(missing_ok=True)  # first: without its snapshots it could not be gone on from
    for path in folder.glob(SNAPSHOTS):
        path.unlink(missing_ok=True)
    forget_finished(folder)
    remove_if_empty(folder)


def remove_if_empty(folder: Path) -> None:
    """Remove the folder unless something is in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def settle(folder: Path) -> None:
    """Remove what a training has kept, where it is done and all that it has written is whole."""
    if is_finished(folder) and _outputs_whole(folder):
        remove_kept(folder)


def settle_trainings(outputs: Iterable[str]) -> None:
    """Settle the trainings among the makers of these files, all of which are known to be complete.

    What cannot be removed stays, with a warning.
    """
    for folder in sorted({Path(path).parent / FOLDER for path in outputs}):
        try:
            settle(folder)
        except (OSError, ValueError) as error:
            log.warning("the checkpoint in %s is not removed: %s", folder, error)


def _outputs_whole(folder: Path) -> bool:
    sizes = read_json(folder / FINISHED)["outputs"]
    paths = {folder / name: size for name, size in sizes.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())


def _written_first(path: Path, mark: Mark) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(mark, file)
    return True


def _read(path: Path) -> Mark | None:
    """A mark; None where there is none, or one that was cut off."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _take_over(path: Path) -> None:
    """Remove the mark of an owner that is gone, or may be."""
    owner = _read(path)
    if owner is not None:
        alive, who = is_alive(owner), named(owner)
        if alive is None:
            log.warning("%s: %s has not said that it ended; if it still trains, end it", path.parent, who)
        elif alive:
            raise ValueError(
                f"{path.parent}: another process trains there ({who}); wait for its end, or end it, and start again"
            )
    path.unlink(missing_ok=True)
