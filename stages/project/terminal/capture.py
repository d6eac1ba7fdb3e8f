"""Holds back what this process and its jobs write to the terminal themselves, so that it goes above the view."""

import os
import sys
import threading
import time
from collections import deque
from typing import TextIO

from stages.project.terminal.progress import message, read_progress

TRACEBACK = "Traceback (most recent call last)"
PATIENCE = 1.5  # seconds until a line that no log file has is shown


class Capture:
    """Standard error, and with `both` standard output where it is a terminal, as lines.

    `screen` is what standard error was, to draw on. The lines of steps stand in their log files, too: `known` names
    them, and they are not given out again.
    """

    def __init__(self, *, both: bool) -> None:
        """Nothing is held back until `start`."""
        self._both = both
        self.screen: TextIO = sys.stderr
        self._kept: dict[int, int] = {}  # what the descriptors were
        self._lines: deque[tuple[float, str]] = deque()
        self._known: dict[str, float] = {}
        self._traceback: list[str] = []  # one that has begun
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Hold back from now on."""
        sys.stdout.flush()
        sys.stderr.flush()
        descriptors = [2] + ([1] if self._both and os.isatty(1) else [])
        self._kept = {descriptor: os.dup(descriptor) for descriptor in descriptors}
        self.screen = os.fdopen(os.dup(self._kept[2]), "w", encoding="utf-8", errors="replace")
        reader, writer = os.pipe()
        for descriptor in descriptors:
            os.dup2(writer, descriptor)
        os.close(writer)
        self._thread = threading.Thread(target=self._read, args=(reader,), daemon=True)
        self._thread.start()

    def stop(self) -> list[str]:
        """Give the descriptors back; returns the lines that are left. A job that goes on writing keeps its pipe."""
        if not self._kept:
            return []
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, kept in self._kept.items():
            os.dup2(kept, descriptor)
            os.close(kept)
        self._kept = {}
        if self._thread is not None:
            self._thread.join(timeout=0.5)
        left = [*self.lines(patience=0.0), *self._traceback]
        self.screen.close()
        self.screen = sys.stderr
        return left

    def forget(self) -> None:
        """Leave out what has come so far."""
        self._lines.clear()
        self._traceback = []

    def know(self, said: str) -> None:
        """A message stands in a log file."""
        self._known[said.strip()] = time.monotonic()

    def lines(self, *, patience: float = PATIENCE) -> list[str]:
        """Lines that have waited for so many seconds and stand in no log file."""
        now, found = time.monotonic(), []
        while self._lines and now - self._lines[0][0] >= patience:
            line = self._lines.popleft()[1]
            said = message(line).strip()
            if said and said not in self._known and read_progress(said) is None:
                found += self._without_interrupts(line)
        for said in [said for said, when in self._known.items() if now - when > 60]:
            del self._known[said]
        return found

    def _without_interrupts(self, line: str) -> list[str]:
        """The line; of a traceback nothing until its last line, and nothing at all of one that Ctrl-C has caused."""
        if line.startswith(TRACEBACK):
            before, self._traceback = self._traceback, [line]
            return before
        if not self._traceback:
            return [line]
        traceback, self._traceback = [*self._traceback, line], []
        if line.startswith(" "):
            self._traceback = traceback
            return []
        return [] if line.startswith("KeyboardInterrupt") else traceback

    def _read(self, reader: int) -> None:
        with os.fdopen(reader, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                self._lines.append((time.monotonic(), line.rstrip("\r\n")))
