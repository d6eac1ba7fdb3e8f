"""The device that a step computes on."""

import os

import torch

# What says that this process was given GPUs: the job of a cluster, or whoever chose some of them.
GIVEN = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE", "CUDA_VISIBLE_DEVICES")
HIDDEN = ("", "-1")  # values of CUDA_VISIBLE_DEVICES that hide all GPUs on purpose


def torch_device(device: str) -> torch.device:
    """The device of a name: "cpu", "cuda", "cuda:1", or "auto", the first GPU where there is one, else the CPU.

    Raises ValueError where it is not there, and for "auto" where GPUs were given to this process, but none is visible:
    a training would go on for days on the CPU. CUDA_VISIBLE_DEVICES="" says that this is meant.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        given = _given()
        if given is not None:
            raise ValueError(
                f"device is auto, and {given} says that there is a GPU for this job, but torch sees none; look at"
                " nvidia-smi on this node and whether this torch is built for CUDA, or set device: cpu to do without"
            )
        return torch.device("cpu")
    kind, _, index = device.partition(":")
    known = device == "cpu" or (kind == "cuda" and (index.isdigit() or device == "cuda"))
    if not known or (kind == "cuda" and int(index or 0) >= torch.cuda.device_count()):
        there = torch.cuda.device_count()
        raise ValueError(f"device {device!r} is not there ({there} GPUs); use auto, cpu, cuda or cuda:N")
    return torch.device(device)


def _given() -> str | None:
    """The variable, with its value, that says that there are GPUs; None where none does, or all are hidden."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in HIDDEN:
        return None
    if os.environ.get("SLURM_GPUS_ON_NODE") == "0":
        return None
    return next((f"{name}={os.environ[name]}" for name in GIVEN if os.environ.get(name)), None)
