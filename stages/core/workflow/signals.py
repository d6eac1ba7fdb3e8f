"""Signals that ask a step to stop: Ctrl-C, a time limit, a preemption."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)


class StoppedBySignal(Exception):
    """A step has ended early, as a signal asked for; the message says what it leaves and how to go on."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number

    @property
    def status(self) -> int:
        """Exit status by the shell's convention: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + self.number


class StopRequest:
    """The signal that asked to stop, or None. Signals that follow the first change nothing."""

    def __init__(self) -> None:
        self.number: int | None = None

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        self.number = self.number or number


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGTERM and SIGINT in place of dying of them, for the time of the block.

    Outside the main thread nothing is noted, as Python allows handlers there alone.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    # What is ignored on purpose, as SIGINT is in the background of a shell, stays ignored.
    before = {number: signal.getsignal(number) for number in STOPPING}
    heeded = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in heeded:
        signal.signal(number, request.note)
    try:
        yield request
    finally:
        for number, handler in heeded.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
