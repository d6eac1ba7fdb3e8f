"""Reads what is appended to a log file."""

from pathlib import Path


class Tail:
    """The new whole lines of a file that a job writes.

    What stands in the file before the job is of an earlier one: nothing is read until the file changes, then all of it.
    """

    def __init__(self, path: Path) -> None:
        """The file need not be there yet."""
        self.path = path
        self._before = self._stamp()
        self._place = 0
        self._rest = b""

    def read(self) -> list[str]:
        """Whole lines since the last call; what is no UTF-8 is replaced."""
        stamp = self._stamp()
        if stamp is None or stamp == self._before:
            return []
        self._before = None
        if stamp[0] < self._place:  # begun anew
            self._place, self._rest = 0, b""
        try:
            with self.path.open("rb") as file:
                file.seek(self._place)
                data = file.read()
        except OSError:
            return []
        self._place += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", errors="replace") for line in lines]

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a file that are not empty; none where it cannot be read."""
    try:
        text = path.read_bytes()[-64_000:].decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
