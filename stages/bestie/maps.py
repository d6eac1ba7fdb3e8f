"""A trained network, and its maps of one image at the image's size."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.network import BestieNetwork
from stages.bestie.settings import BestieTrainingSettings, MapSettings
from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Artifact
from stages.core.config.crf import CrfSettings
from stages.core.images.loading import normalise
from stages.core.networks.devices import torch_device
from stages.core.networks.weights import load_weights, read_trained
from stages.ops.crf import dense_crf
from stages.ops.resize import resize_as, scaled_size


class Maps(NamedTuple):
    """What the network says of one image, at the image's size; all float32.

    Attributes:
        probabilities: (C + 1, H, W), background first.
        heatmap: (C, H, W), center heatmaps.
        offsets: (2, H, W), (dy, dx).
    """

    probabilities: Tensor
    heatmap: Tensor
    offsets: Tensor


def load_network(weights: Path, images: Artifact[ImageRecord], *, device: str) -> tuple[BestieNetwork, dict[str, Any]]:
    """The trained network in evaluation mode, and the metadata of the weights file.

    Raises ValueError where the weights are not of `train_bestie`, do not fit, or know other classes than the images.
    """
    metadata = read_trained(weights, step="train_bestie", classes=images.header["classes"], listed=images.path)
    settings = metadata.section(BestieTrainingSettings)
    network = BestieNetwork(settings, class_count=len(metadata["classes"]), load=False)
    load_weights(weights, network)
    return network.to(torch_device(device)).eval(), metadata


def maps_of(network: BestieNetwork, rgb: np.ndarray, *, settings: MapSettings) -> Maps:
    """The network's maps of an image (H, W, 3) uint8, at the image's size: the mean over `scales`."""
    device = next(network.parameters()).device
    found = []
    for scale in settings.scales:
        size = input_size(*rgb.shape[:2], settings, scale=scale)
        inputs = torch.from_numpy(normalise(resize_as(rgb, *size, interpolation=settings.interpolation))).to(device)
        found.append(predict_maps(network, inputs, size=rgb.shape[:2], settings=settings))
    return Maps(*(torch.stack(each).mean(0) for each in zip(*found, strict=True)))


def input_size(height: int, width: int, settings: MapSettings, *, scale: float = 1.0) -> tuple[int, int]:
    """Height and width of the network's input: scaled to the longer side, then enlarged to multiples of the step."""
    longer_side = settings.longer_side or max(height, width)
    height, width = scaled_size(height, width, max(1, round(longer_side * scale)))
    divisor = settings.side_step
    return divisor * math.ceil(height / divisor), divisor * math.ceil(width / divisor)


@torch.no_grad()
def predict_maps(network: BestieNetwork, image: Tensor, *, size: tuple[int, int], settings: MapSettings) -> Maps:
    """Maps of one image (3, h, w), normalised, enlarged to its own size (H, W); the network is in evaluation mode.

    With `flip` probabilities and center heatmaps are means with those of the mirrored image; offsets are not
    (official code). Offsets count pixels of the input; with `rescale_offsets` they are made to count the image's.
    """
    outputs = network(image[None], size=size)
    probabilities, heatmap, offsets = outputs.semantic.softmax(1), outputs.heatmap, outputs.offsets
    if settings.flip:
        mirrored = network(image[None].flip(-1), size=size)
        probabilities = (probabilities + mirrored.semantic.softmax(1).flip(-1)) / 2
        heatmap = (heatmap + mirrored.heatmap.flip(-1)) / 2
    if settings.rescale_offsets:
        factors = [size[axis] / image.shape[1 + axis] for axis in (0, 1)]
        offsets = offsets * offsets.new_tensor(factors)[:, None, None]
    return Maps(probabilities[0], heatmap[0], offsets[0])


def leaning_maps(maps: Maps, labels: np.ndarray, *, weight: float) -> Maps:
    """The maps with probabilities P that lean on the semantic map (H, W) uint8 of another source.

        P'(q)_c = P(q)_c exp(weight [map(q) = c]) / sum over classes,    c from 0, background, on

    Where the map is uncertain they stay as they are.
    """
    known = torch.arange(len(maps.probabilities), dtype=torch.uint8)[:, None, None] == torch.from_numpy(labels)
    logits = maps.probabilities.log() + weight * known.to(maps.probabilities)
    return maps._replace(probabilities=logits.softmax(0))


def with_crf(maps: Maps, rgb: np.ndarray, *, settings: CrfSettings) -> Maps:
    """The maps with probabilities that follow the colours of the image (H, W, 3) uint8; as they are without a CRF.

    Raises ValueError where they hold anything but numbers.
    """
    if not settings.iterations:
        return maps
    probabilities = dense_crf(rgb, maps.probabilities.cpu().numpy(), **settings.model_dump())
    return maps._replace(probabilities=torch.from_numpy(probabilities).to(maps.heatmap.device))


def small_maps(maps: Maps, image: str, *, longer_side: int) -> CenterMaps:
    """The maps made small, never enlarged: a cell's highest score over all classes, and the offset at its middle."""
    height, width = maps.offsets.shape[-2:]
    size = scaled_size(height, width, min(longer_side, max(height, width)))
    limits = torch.finfo(torch.float16)
    heatmap = functional.adaptive_max_pool2d(maps.heatmap.amax(0)[None], size)[0]
    offsets = functional.interpolate(maps.offsets[None], size, mode="nearest-exact")[0]
    heatmap, offsets = (values.clamp(limits.min, limits.max).half().cpu().numpy() for values in (heatmap, offsets))
    return CenterMaps(image=image, heatmap=heatmap, offsets=offsets)
