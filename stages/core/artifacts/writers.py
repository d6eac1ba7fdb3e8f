"""Who writes a file that is not finished: its name tells the host and the process, so that leftovers are known."""

import contextlib
import os
import re
import shutil
import socket
import time
from pathlib import Path

UNFINISHED = re.compile(r"\..*?(?:\.(?P<host>[\w-]+))?\.(?P<pid>\d+)\.(?:unfinished|older)", re.DOTALL)
SILENT_SECONDS = 24 * 3600.0  # after which a writer on another host, whose processes cannot be asked, is taken for dead


def beside(path: Path, kind: str = "unfinished") -> Path:
    """Where this process writes what will be `path`, in the same folder."""
    return path.with_name(f".{path.name}.{host()}.{os.getpid()}.{kind}")


def remove_leftovers(folder: Path) -> None:
    """Remove what dead writers have left in a folder: those of this host that are gone, and others silent for a day."""
    for path in folder.iterdir():
        found = UNFINISHED.fullmatch(path.name)
        if found is None or not _left(path, found["host"], int(found["pid"])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def host() -> str:
    """This machine's name, short and without what file names dislike."""
    return re.sub(r"[^\w-]", "-", socket.gethostname().partition(".")[0], flags=re.ASCII)[:24] or "unnamed"


def process_start(pid: int) -> str | None:
    """When a process of this host began, in the kernel's ticks; None where it is gone.

    A number that was given to another process since has another start. Where the kernel does not say, it is "".
    """
    try:
        with contextlib.suppress(PermissionError):  # somebody else's, and there
            os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    try:
        # "pid (name) state ...": the name may hold anything, so fields are counted from its end.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return None if fields[0] == "Z" else fields[19]


def _left(path: Path, writer: str | None, pid: int) -> bool:
    if writer == host():
        return process_start(pid) is None
    try:
        return time.time() - path.stat().st_mtime > SILENT_SECONDS
    except FileNotFoundError:
        return False
