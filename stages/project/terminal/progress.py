"""Progress lines of steps, as `step.progress` and the training loop write them into log files."""

import re
from dataclasses import dataclass

CLOCK = re.compile(r"^\d\d:\d\d:\d\d ")  # before each line of a log file
LINE = re.compile(
    r"^(?P<label>.*?) ?(?P<done>\d+) of (?P<total>\d+)(?:: (?P<terms>.*))?, (?P<rate>\d+\.\d+) (?:\w+ )?per second, "
    r"(?P<left>\S+) left$"
)


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        label: what is counted, such as "update" or "images drawn".
        done: how many of them are done.
        total: how many there are.
        rate: done per second.
        left: time left, as the step says it: 8.3s, 4m05s, 2h13m.
    """

    label: str
    done: int
    total: int
    rate: float
    left: str

    def __str__(self) -> str:
        return f"{self.label} {self.done} of {self.total}, {self.rate:.2f} per second, {self.left} left"


def message(line: str) -> str:
    """A line of a log file without the time before it."""
    return CLOCK.sub("", line, count=1)


def read_progress(said: str) -> Progress | None:
    """The progress that a message tells, or None."""
    found = LINE.match(said)
    if found is None or not 0 < int(found["total"]) >= int(found["done"]):
        return None
    return Progress(found["label"], int(found["done"]), int(found["total"]), float(found["rate"]), found["left"])
