"""Marks by which processes say that something is theirs, and by which others see whether they are still there."""

import datetime
import os
import socket
from typing import Any

from stages.core.artifacts.writers import process_start

Mark = dict[str, Any]


def mark_of_this_process() -> Mark:
    """Host, process, when it began, since when it says so, and the Slurm job that it is part of; JSON values."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "start": process_start(pid),
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "job": os.environ.get("SLURM_JOB_ID"),
    }


def is_alive(mark: Mark) -> bool | None:
    """Whether the process of a mark is there; None where it is of another host, whose processes cannot be asked."""
    if mark["host"] != socket.gethostname():
        return None
    return process_start(mark["pid"]) == mark["start"]


def named(mark: Mark) -> str:
    """The process of a mark in words."""
    job = f", job {mark['job']}" if mark.get("job") else ""
    return f"process {mark['pid']} on {mark['host']}{job}, since {mark['since']}"
