"""Plain lines, for files, pipes and terminals that cannot do more."""

import time
from typing import TextIO

from stages.core.workflow.step import clock
from stages.project.terminal.state import Job, Run

SECONDS_BETWEEN = 30.0  # of lines that say how far a job is


class PlainScreen:
    """A line when a job starts, when it is done, and now and then how far it is."""

    def __init__(self, stream: TextIO) -> None:
        """Lines go to the stream."""
        self._stream = stream

    def started(self, job: Job) -> None:
        """A job begins."""
        self.say(f"start {job.name}")

    def finished(self, run: Run, job: Job, seconds: float) -> None:
        """A job is done."""
        self.say(f"done {job.name} in {clock(seconds)}, {run.done + 1} of {run.total} jobs")

    def logged(self, job: Job, said: str, *, warning: bool) -> None:
        """A step has said something that is no progress."""
        self.say(f"{job.name}: {'warning: ' if warning else ''}{said}")

    def say(self, text: str, style: str = "") -> None:
        """Print lines; letters that could steer a terminal are spelled out. `style` is for terminals."""
        for line in text.splitlines() or [""]:
            self._stream.write(f"{time.strftime('%H:%M:%S')} {visible(line)}\n")
        self._stream.flush()

    def update(self, run: Run, now: float) -> None:
        """Say how far the jobs are, each at most every so often."""
        for job in run.running.values():
            if job.progress is not None and now - max(job.told, job.started) >= SECONDS_BETWEEN:
                job.told = now
                self.say(f"{job.name}: {job.progress}")

    def stop(self) -> None:
        """Nothing stays to be taken away."""


def visible(text: str) -> str:
    """A text on one line without control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.expandtabs(4))


def counted(count: int, noun: str) -> str:
    """A number with its noun in singular or plural."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
