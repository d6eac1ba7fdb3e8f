"""Counts what is odd among many: a part of it is a warning, most of it stops the step."""

import logging
import threading

log = logging.getLogger(__name__)
SHOWN = 10  # how many a message names


class Tally:
    """Cases that were looked at, and what is odd about some. May be used by several threads."""

    def __init__(self) -> None:
        """No case was seen yet."""
        self._lock = threading.Lock()
        self._seen = 0
        self._odd: list[str] = []

    def see(self, problem: str | None) -> None:
        """Count a case; `problem` says which one it is and what is odd, None where nothing is."""
        with self._lock:
            self._seen += 1
            if problem is not None:
                self._odd.append(problem)

    def conclude(self, fault: str, remedy: str) -> None:
        """Say how many cases have the fault, such as "masks are not what their entries say".

        Raises ValueError, with the remedy, where more than half of them have it.
        """
        if not self._odd:
            return
        odd = sorted(self._odd)
        more = [f"and {len(odd) - SHOWN} more"] if len(odd) > SHOWN else []
        shown = "\n  ".join(odd[:SHOWN] + more)
        counts = f"{len(odd)} of {self._seen} {fault}"
        if 2 * len(odd) > self._seen:
            raise ValueError(f"{counts}; {remedy}:\n  {shown}")
        log.warning("%s; they are taken as they are:\n  %s", counts, shown)
