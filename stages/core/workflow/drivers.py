"""Which drivers (processes of Snakemake) work in a folder, and whose locks lie there.

Snakemake's locks do not say whose they are: after a SIGKILL they stay, and somebody has to look and to say `--unlock`.
Each driver leaves a note while it works, so that the next one sees who is gone and takes the locks away. On Slurm jobs
outlive their driver: the locks stay as long as any of them does.
"""

import atexit
import contextlib
import logging
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages.core.artifacts.files import read_json, write_json
from stages.core.artifacts.writers import host
from stages.core.workflow.processes import Mark, is_alive, mark_of_this_process, named

log = logging.getLogger(__name__)
NOTES = Path(".snakemake/drivers")  # below the folder in which Snakemake works
LOCKS = Path(".snakemake/locks")
SQUEUE_SECONDS = 30
STARTING_SECONDS = 3600.0  # that a driver of another host may take from its note to its lock


def enter_folder() -> None:
    """Note that this driver works in the current folder, and take away the locks of drivers that are gone."""
    note = _note()
    with contextlib.suppress(OSError):  # Snakemake says what it cannot write
        write_json(note, mark_of_this_process())
        atexit.register(note.unlink, missing_ok=True)
    notes = {path: _read(path) for path in note.parent.glob("*.json") if path != note}
    gone = [path for path, mark in notes.items() if mark is None or is_alive(mark) is False]
    others = [mark for path, mark in notes.items() if mark is not None and path not in gone]
    locks = list(LOCKS.glob("*.lock"))
    if locks and others:
        folder, who = Path.cwd(), "; ".join(map(named, others))
        log.warning("another run works in %s: %s", folder, who)
        return
    with contextlib.suppress(FileNotFoundError):  # of a driver that ends just now
        if locks and gone:
            _take_away(locks, gone)
        elif not locks:  # which a driver holds as long as it works
            for path in notes:
                if path in gone or path.stat().st_mtime < time.time() - STARTING_SECONDS:
                    path.unlink()


def note_executor(name: str) -> None:
    """Note what this driver gives its jobs to."""
    note = _note()
    with contextlib.suppress(OSError):
        noted = note.stat()
        write_json(note, mark_of_this_process() | {"executor": name})
        os.utime(
            note, ns=(noted.st_atime_ns, noted.st_mtime_ns)
        )  # locks are younger than the note, and older than this


def _take_away(locks: Iterable[Path], gone: Iterable[Path]) -> None:
    """Take away locks, and notes, that drivers have left, unless the locks may be of others or of jobs that go on."""
    marks = [mark for mark in map(_read, gone) if mark is not None]
    # A lock from before the first of them is of a driver that left no note.
    if not marks or min(path.stat().st_mtime for path in locks) < min(path.stat().st_mtime for path in gone):
        return
    who = "; ".join(map(named, marks))
    if any(mark.get("executor") == "slurm" for mark in marks):
        jobs = _jobs_here()
        if jobs is None:
            log.warning("the locks here are of a run that was killed (%s); squeue does not tell if its jobs go on", who)
            return
        if jobs:
            log.warning(
                "the locks here are of a run that was killed (%s), whose jobs go on: wait for their end, or scancel %s",
                who, " ".join(jobs),
            )  # fmt: skip
            return
    for path in [*locks, *gone]:
        path.unlink(missing_ok=True)
    log.warning("the locks here were of a run that was killed (%s), and are taken away", who)


def _jobs_here() -> list[str] | None:
    """Ids of this user's Slurm jobs that work in this folder; None where Slurm does not answer."""
    try:
        said = subprocess.run(
            ["squeue", "--me", "--noheader", "--format=%i %Z"],
            capture_output=True, text=True, check=True, timeout=SQUEUE_SECONDS,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    jobs = [line.strip().partition(" ") for line in said.splitlines()]
    return [job for job, _, folder in jobs if folder and Path(folder).resolve() == Path.cwd()]


def _note() -> Path:
    return Path.cwd() / NOTES / f"{host()}.{os.getpid()}.json"  # Snakemake leaves the folder before the process ends


def _read(path: Path) -> Mark | None:
    """A note; None where it was cut off, is none, or is gone by now."""
    with contextlib.suppress(OSError, ValueError):
        found: Any = read_json(path)
        if isinstance(found, dict) and {"host", "pid", "start", "since"} <= found.keys():
            return found
    return None
