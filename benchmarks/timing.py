"""How long a call takes: processor seconds on a CPU, seconds of the clock on a device."""

import time
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")
CPU = torch.device("cpu")


def fastest(call: Callable[[], T], repeats: int = 7, *, device: torch.device = CPU) -> tuple[float, T]:
    """Least seconds of several calls (other work on the machine only adds), and the last answer."""
    times: list[float] = []
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    for _ in range(repeats):
        wait_for(device)
        start = clock()
        answer = call()
        wait_for(device)
        times.append(clock() - start)
    return min(times), answer


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
