"""Recall, average best overlap and time of the built-in generator on a VOC folder.

    python -m benchmarks.proposals $TAGMASK_DATA/data/voc_animals/VOC2012 --split val

prints a markdown table. Ground truth is read from SegmentationObject (255 = void, left out of every overlap); time is
that of one core (CPU seconds), without reading images.
"""

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import yaml
from PIL import Image

from stages.proposals.heg import Candidates, propose
from stages.proposals.settings import HegSettings

CONFIG = Path(__file__).parents[1] / "config.yaml"
VOID = 255


class Scene(NamedTuple):
    """An image (H, W, 3) uint8 and its instances (H, W) uint8: 0 background, 255 void."""

    rgb: np.ndarray
    instances: np.ndarray


class Result(NamedTuple):
    """count -> (instances,) best overlap among the first so many proposals; proposals and seconds of each image."""

    best: dict[int, np.ndarray]
    proposals: np.ndarray
    seconds: np.ndarray


def voc_images(folder: Path, split: str, limit: int | None) -> Iterator[Scene]:
    """The first images of ImageSets/Segmentation/<split>.txt that have instance masks."""
    for image in (folder / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()[:limit]:
        rgb = np.array(Image.open(folder / "JPEGImages" / f"{image}.jpg").convert("RGB"))
        yield Scene(rgb, np.array(Image.open(folder / "SegmentationObject" / f"{image}.png")))


def best_overlaps(found: Candidates, instances: np.ndarray) -> np.ndarray:
    """(instances, N): the best IoU with each instance among the first 1..N proposals, void pixels left out."""
    members = found.regions.astype(np.float64)
    superpixels = members.shape[1]
    sizes = members @ np.bincount(found.labels[instances != VOID], minlength=superpixels)
    best = []
    for instance in sorted(set(np.unique(instances)) - {0, VOID}):
        inside = np.bincount(found.labels[instances == instance], minlength=superpixels)
        common = members @ inside
        best.append(np.maximum.accumulate(common / (sizes + inside.sum() - common)))
    return np.array(best).reshape(len(best), len(members))


def measure(scenes: Iterable[Scene], settings: HegSettings, *, counts: list[int]) -> Result:
    """Run the generator; `settings.count` should be the largest of `counts`."""
    cv2.setNumThreads(1)
    best: dict[int, list[np.ndarray]] = {count: [] for count in counts}
    proposals, seconds = [], []
    for number, scene in enumerate(scenes):
        if number == 0:
            propose(scene.rgb, settings)  # compiles
        start = time.process_time()
        found = propose(scene.rgb, settings)
        seconds.append(time.process_time() - start)
        proposals.append(len(found.regions))
        overlaps = best_overlaps(found, scene.instances)
        for count in counts:
            best[count].append(overlaps[:, min(count, len(found.regions)) - 1])
    return Result({count: np.concatenate(b) for count, b in best.items()}, np.array(proposals), np.array(seconds))


def table(result: Result) -> str:
    """The result as a markdown table."""
    lines = ["| N | ABO | recall at .5 | at .7 | at .85 |", "| ---: | ---: | ---: | ---: | ---: |"]
    for count, best in result.best.items():
        recalls = " | ".join(f"{np.mean(best >= threshold):.3f}" for threshold in (0.5, 0.7, 0.85))
        lines.append(f"| {count} | {best.mean():.3f} | {recalls} |")
    images, instances = len(result.seconds), len(next(iter(result.best.values())))
    lines.append("")
    lines.append(
        f"{images} images, {instances} instances, {result.proposals.mean():.0f} proposals per image; one core, "
        f"seconds per image: mean {result.seconds.mean():.2f}, median {np.median(result.seconds):.2f}"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of JPEGImages, SegmentationObject and ImageSets")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=None, help="only the first so many images")
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 200, 500, 1000, 2000])
    parser.add_argument("--source", default="heg", help="name of the generator's section in config.yaml")
    arguments = parser.parse_args()
    section = yaml.safe_load(CONFIG.read_text())["proposals"][arguments.source]
    settings = HegSettings(**{**section, "count": max(arguments.counts)})
    scenes = voc_images(arguments.folder, arguments.split, arguments.limit)
    print(table(measure(scenes, settings, counts=arguments.counts)))


if __name__ == "__main__":
    main()
