"""Fabric for the device, or devices, of a training."""

import logging
import os
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from stages.core.networks.devices import torch_device
from stages.core.training.settings import TrainingSettings

T = TypeVar("T")
log = logging.getLogger(__name__)


def make_fabric(device: str, settings: TrainingSettings) -> Fabric:
    """Fabric on `device` (see `torch_device`); under torchrun one device per process."""
    chosen = torch_device(device)
    precision = {"32": "32-true", "bf16": "bf16-mixed"}.get(settings.precision)
    if precision is None:
        precision = "bf16-mixed" if chosen.type == "cuda" and torch.cuda.is_bf16_supported() else "32-true"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
        # Outputs that no loss uses are the loop's business; this copes with parameters that no output depends on.
        # Statistics of batch norms are the loop's, too: DDP would take those of the first process.
        strategy = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
        fabric = Fabric(
            accelerator=chosen.type, devices=local, num_nodes=world // local, strategy=strategy, precision=precision
        )
    else:
        devices = 1 if chosen.index is None else [chosen.index]
        fabric = Fabric(accelerator=chosen.type, devices=devices, precision=precision)
    fabric.launch()
    log.info("training on %s, precision %s, %d process(es)", fabric.device, precision, fabric.world_size)
    return fabric


def from_all(fabric: Fabric, own: T) -> list[T]:
    """What each process gives, in the order of their ranks; small things such as numbers and texts."""
    if fabric.world_size == 1:
        return [own]
    found: list[T] = [own] * fabric.world_size
    torch.distributed.all_gather_object(found, own)
    return found
