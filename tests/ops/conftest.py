from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session", params=["numpy", "cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def place(request) -> Callable:
    """Brings a NumPy array to where the test runs: NumPy itself, torch on the CPU, torch on CUDA."""
    if request.param == "numpy":
        return np.asarray
    return lambda array: torch.tensor(np.ascontiguousarray(array), device=request.param)


@pytest.fixture(scope="session")
def host() -> Callable:
    """Brings a result back to NumPy."""
    return lambda array: array.cpu().numpy() if isinstance(array, torch.Tensor) else array
