"""Images per second, memory, waits for data and for the device of each trainer."""

import gc
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.gpu import quick as smallest
from benchmarks.gpu.data import Data, Extent, write
from benchmarks.gpu.results import Part
from benchmarks.gpu.trainers import BACKBONES, TRAINERS, Trainer
from benchmarks.gpu.updates import measure
from stages.core.workflow import step

PRECISIONS = ("32", "bf16")
SECONDS = 3.0  # of timed updates, at least one


def run(part: Part, *, device: torch.device, quick: bool, trainers: list[str]) -> None:
    """Measure each trainer with each backbone and precision: what papers name first, then all else."""
    with TemporaryDirectory() as folder:
        write(Path(folder), smallest.EXTENT if quick else Extent())
        with Data(Path(folder)) as data:
            for name, backbone, precision in cases(trainers, quick=quick):
                one = measured(
                    TRAINERS[name], data, backbone=backbone, precision=precision, device=device,
                    changes=smallest.QUICK[name] if quick else {}, seconds=0.0 if quick else SECONDS,
                )  # fmt: skip
                part.add(trainer=name, backbone=backbone, precision=precision, **one)


def cases(trainers: list[str], *, quick: bool) -> list[tuple[str, str, str]]:
    """What is measured, in order, so that what is cut off by the time is what papers do not name."""
    if quick:  # all backbones are the same small one there
        return [(name, next(iter(TRAINERS[name].published)), "32") for name in trainers]
    pairs = [(name, backbone) for name in trainers for backbone in BACKBONES]
    published = [pair for pair in pairs if pair[1] in TRAINERS[pair[0]].published]
    first = [(name, next(iter(TRAINERS[name].published))) for name in trainers]
    order = list(dict.fromkeys([*first, *published, *pairs]))
    return [
        *((*pair, precision) for precision in PRECISIONS for pair in order if pair in first),
        *((*pair, precision) for pair in order if pair not in first for precision in PRECISIONS),
    ]


def measured(
    trainer: Trainer, data: Data, *, backbone: str, precision: str, device: torch.device, changes: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """What is measured of one case, or why it cannot be."""
    kind = "published" if backbone in trainer.published else "exchanged"
    if kind == "exchanged" and backbone not in trainer.backbones:
        return {"settings": "none", "why": trainer.why_not[backbone]}
    started = time.perf_counter()
    try:
        settings = trainer.settings_of(backbone, changes)
        settings = settings.model_copy(
            update={"training": settings.training.model_copy(update={"precision": precision})}
        )  # fmt: skip
        step.seed_everything(settings.seed)
        task = trainer.task(settings, data)
        found = measure(task, settings, images=trainer.images(settings), device=str(device), seconds=seconds)
    except (ValueError, torch.OutOfMemoryError) as error:
        return {"settings": kind, "why": str(error).splitlines()[0]}
    finally:
        task = None
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    waits = sum(found.waits.values())
    return {
        "settings": kind,
        "images_per_second": found.images / found.seconds,
        "peak_GB": found.peak_bytes / 1e9,
        "share_waiting_for_data": found.waiting,
        "synchronisations_per_update": waits,
        "synchronisations_per_pass": waits / found.passes,
        "setup_seconds": time.perf_counter() - started - found.seconds,
        "synchronisations": found.waits,
    }
