"""The device of a step, and jobs that were given a GPU and see none."""

import pytest
import torch

from stages.core.networks.devices import GIVEN, torch_device


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch):
    """A machine without a visible GPU, whatever this one has."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)


def test_without_a_gpu_auto_is_the_cpu():
    assert torch_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLURM_JOB_GPUS", "0"),  # the number of the card, not how many
        ("SLURM_STEP_GPUS", "3"),
        ("SLURM_GPUS_ON_NODE", "1"),
        ("CUDA_VISIBLE_DEVICES", "0"),
        ("CUDA_VISIBLE_DEVICES", "GPU-5f1b"),
    ],
)
def test_a_job_that_was_given_a_gpu_and_sees_none_stops(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError, match=rf"{name}={value} says that there is a GPU .* or set device: cpu to do without"
    ):
        torch_device("auto")
    assert torch_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("value", ["", "-1"])
def test_gpus_that_are_hidden_on_purpose_are_not_missed(monkeypatch, value):
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert torch_device("auto") == torch.device("cpu")


def test_a_job_without_gpus_runs_on_the_cpu(monkeypatch):
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "0")
    assert torch_device("auto") == torch.device("cpu")


def test_a_visible_gpu_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    assert torch_device("auto") == torch.device("cuda")
