"""CIM trained for some minutes on the five animals of presets/voc_animals.yaml, images at half size.

Images and proposals are made by the steps that make them in the graph, of a sample. The run is that without AGPL's
labels, which need a trained classifier.
"""

import multiprocessing
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.gpu.results import Part
from benchmarks.gpu.trainers import ROOT, changed
from benchmarks.gpu.updates import Updates
from stages.cim.network import CimNetwork
from stages.cim.task import CimTask
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone
from stages.core.workflow import step
from stages.images.list_images import list_images
from stages.project.project import load_files
from stages.project.trial import as_trial
from stages.proposals.generate_proposals import generate_proposals
from stages.proposals.merge_proposals import merge_proposals

VARIABLE = "TAGMASK_DATA"
SAMPLE, MINUTES = 160, 5.0
INTERVAL = 20  # updates between points of the curve


def why_not() -> str | None:
    """Why this part cannot run, if so."""
    folder = os.environ.get(VARIABLE)
    if folder is None:
        return f"{VARIABLE} is not set; let it name the folder that holds data/voc_animals and weights"
    place = Path(folder) / "data" / "voc_animals" / "VOC2012"
    return (
        None if place.is_dir() else f"{place} is not there; let {VARIABLE} name the folder that holds data/voc_animals"
    )


def run(part: Part, *, device: torch.device, quick: bool, until: float) -> None:
    """Train until the clock (`time.monotonic`) says `until`, and keep means of the losses as it goes."""
    project = load_files(ROOT / "config.yaml", ROOT / "presets" / "voc_animals.yaml")
    weights = f"{os.environ[VARIABLE]}/weights/mobilenetv2_100.safetensors"
    settings = project.runs["cim_no_agpl"].settings.train
    side = max(settings.data.longer_sides) // 2
    settings = changed(settings, {"backbone": {"weights": weights}, "data": {"longer_sides": [side]}})
    with TemporaryDirectory() as name:
        folder, split = Path(name), project.splits.train
        images, proposals = folder / "images.h5", folder / "proposals.h5"
        cores = len(os.sched_getaffinity(0))
        chosen = as_trial(project, 8 if quick else SAMPLE).images.chosen(split, split)
        list_images(
            output_images=images, output_ground_truth=folder / "ground_truth.h5", output_points=folder / "points.h5",
            settings=chosen, split=split, threads=cores,
        )  # fmt: skip
        shards = [folder / f"{number}.h5" for number in range(1, cores + 1)]
        jobs = [
            {
                "images": images, "output": shard, "settings": project.proposals["heg"], "source": "heg",
                "shard": f"{shard.stem}-of-{cores}",
            }
            for shard in shards
        ]  # fmt: skip
        with multiprocessing.get_context("fork").Pool(cores) as pool:
            pool.map(_generate, jobs)
        merge_proposals(shards=shards, images=images, output=proposals)
        with read(images, ImageRecord) as listing, read(proposals, Proposals) as candidates:
            step.seed_everything(settings.seed)
            backbone = build_backbone(settings.backbone)
            network = CimNetwork(backbone, class_count=len(listing.header["classes"]), settings=settings.network)
            task = CimTask(network, images=listing, proposals=candidates, labels=None, settings=settings)
            updates = Updates(task, settings, device=str(device))
            start = time.monotonic()
            end = min(until, start + 60 * MINUTES)
            done = 0
            while done == 0 or (time.monotonic() < end and not quick):
                before = time.monotonic()
                done += updates.do(1 if quick else INTERVAL)
                point = updates.loop.curves.close_point(done, 0.0)
                seconds, interval = time.monotonic() - start, time.monotonic() - before
                part.add(
                    updates=done, seconds=seconds, share_waiting_for_data=updates.waited / interval,
                    images_per_second=done * settings.training.accumulate / seconds,
                    **{f"loss_{name}": value for name, value in point["losses"].items()},
                )  # fmt: skip
            updates.end()


def _generate(job: dict) -> None:
    generate_proposals(**job)
