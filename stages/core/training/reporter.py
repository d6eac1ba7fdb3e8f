"""What a training says of its progress."""

import logging
import time
from typing import Any

from stages.core.workflow.step import clock

log = logging.getLogger(__name__)


class Reporter:
    """Logs each interval of a training of `steps` updates, of which `first` were done before."""

    def __init__(self, steps: int, first: int) -> None:
        self.steps, self.first, self.started = steps, first, time.perf_counter()

    def report(self, point: dict[str, Any]) -> None:
        """Log a point of the curves, with rate and time left."""
        done, seconds = point["step"] - self.first, time.perf_counter() - self.started
        terms = " ".join(f"{name} {value:.4f}" for name, value in point["losses"].items())
        left = clock((self.steps - point["step"]) * seconds / done)
        log.info(
            "update %d of %d: %s, rate %.3g, %.2f updates per second, %s left",
            point["step"], self.steps, terms, point["rate"], done / seconds, left,
        )  # fmt: skip
