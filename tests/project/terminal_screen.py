"""A terminal for tests: what a program has drawn, after all of its escape sequences."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

TOKEN = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|\x1b|[\r\n]|[^\x1b\r\n]+")


class Screen:
    """Rows of text without an end. Sequences that the view does not use are an error."""

    def __init__(self) -> None:
        self.rows: list[str] = [""]
        self.row = self.column = 0
        self.cursor_shown = True

    def feed(self, text: str) -> "Screen":
        for token in TOKEN.finditer(text):
            whole = token[0]
            if whole == "\r":
                self.column = 0
            elif whole == "\n":
                self.row += 1
                if self.row == len(self.rows):
                    self.rows.append("")
            elif whole.startswith("\x1b"):
                self._escape(whole, token[1] or "", token[2] or "", token[3] or "")
            else:
                line = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = line[: self.column] + whole + line[self.column + len(whole) :]
                self.column += len(whole)
        return self

    def _escape(self, whole: str, private: str, numbers: str, letter: str) -> None:
        if (private, letter) == ("", "m"):
            return
        if (private, letter) == ("", "A"):
            assert int(numbers) <= self.row, "above the first row"
            self.row -= int(numbers)
        elif (private, letter, numbers) == ("", "J", ""):
            self.rows[self.row :] = [self.rows[self.row][: self.column]]
        elif private == "?" and numbers == "25" and letter in "lh":
            self.cursor_shown = letter == "h"
        else:
            raise AssertionError(f"unknown sequence {whole!r}")

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows)


def resize(descriptor: int, columns: int, rows: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def in_terminal(command, *, cwd: Path, columns=100, rows=30, environment=None, interrupt_at=None) -> tuple[int, str]:
    """Run a command in a terminal of its own: exit code, and all that it wrote. Ctrl-C when it writes `interrupt_at`."""
    ours, theirs = pty.openpty()
    resize(theirs, columns, rows)
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM", "TAGMASK_TERMINAL")}
    process = subprocess.Popen(
        command, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**inherited, "TERM": "xterm-256color", **(environment or {})},
    )  # fmt: skip
    os.close(theirs)
    written, deadline = b"", time.monotonic() + 300
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:  # all ends are closed
                break
            if not data:
                break
            written += data
        if interrupt_at is not None and interrupt_at.encode() in written:
            os.killpg(process.pid, signal.SIGINT)
            interrupt_at = None
    code = process.wait(timeout=30)
    os.close(ours)
    return code, written.decode()
