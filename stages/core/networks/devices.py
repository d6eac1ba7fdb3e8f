"""The device that a step computes on."""

import torch


def torch_device(device: str) -> torch.device:
    """The device of a name: "cpu", "cuda", "cuda:1", or "auto", the first GPU where there is one, else the CPU.

    Raises ValueError where it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = device.partition(":")
    known = device == "cpu" or (kind == "cuda" and (index.isdigit() or device == "cuda"))
    if not known or (kind == "cuda" and int(index or 0) >= torch.cuda.device_count()):
        there = torch.cuda.device_count()
        raise ValueError(f"device {device!r} is not there ({there} GPUs); use auto, cpu, cuda or cuda:N")
    return torch.device(device)
