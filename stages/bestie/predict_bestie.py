"""Step: finds instances in images with a trained network of BESTIE."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from stages.bestie.decoding import Maps, decode, predict_maps
from stages.bestie.network import BestieNetwork
from stages.bestie.settings import BestiePredictionSettings, BestieTrainingSettings, MapSettings
from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.config.crf import CrfSettings
from stages.core.images.loading import load_rgb, normalise
from stages.core.networks.devices import torch_device
from stages.core.networks.weights import load_weights, read_trained, weights_digest
from stages.core.workflow import step
from stages.ops.crf import dense_crf
from stages.ops.resize import resize, scaled_size

log = logging.getLogger(__name__)


def predict_bestie(
    *,
    images: Path,
    weights: Path,
    output: Path,
    output_maps: Path,
    settings: BestiePredictionSettings,
    run: str,
    device: str,
) -> None:
    """Find the instances of each image; they never overlap, and an image may have none.

    `output_maps` gets the center and offset maps that they come from, made small, to look at.
    The network is rebuilt from the settings inside the weights file. Tags are not read unless `use_tags` is set.
    Raises ValueError where the weights are not of `train_bestie` or of other classes.
    """
    with read(images, ImageRecord) as listing:
        network, metadata = load_network(weights, listing, device=device)
        header = {
            "classes": listing.header["classes"],
            "category_ids": listing.header["category_ids"],
            "run": run,
            "method": "bestie",
            "supervision": metadata["supervision"],
            "weights": weights_digest(weights),
        }
        counts = []
        provenance = Provenance("predict_bestie", settings, None, {"images": listing})
        with (
            create(output, Instances, header=header, provenance=provenance) as instances,
            create(output_maps, CenterMaps, header=header, provenance=provenance) as kept,
        ):
            for image in step.progress(listing, total=len(listing), label="images"):
                rgb = load_rgb(image, listing.header["root"])
                maps = with_crf(maps_of(network, rgb, settings=settings), rgb, settings=settings.crf)
                found = decode(maps, tags=image.tags if settings.use_tags else None, settings=settings)
                kept.append(small_maps(maps, image.image, longer_side=settings.kept_side))
                counts.append(len(found.scores))
                instances.append(
                    Instances(
                        image=image.image,
                        classes=found.classes,
                        scores=found.scores,
                        **packed_fields(found.regions),
                    )
                )
        log.info("%d instances in %d images, %d without any", sum(counts), len(counts), counts.count(0))


def maps_of(network: BestieNetwork, rgb: np.ndarray, *, settings: MapSettings) -> Maps:
    """The network's maps of an image (H, W, 3) uint8, at the image's size."""
    size = input_size(*rgb.shape[:2], settings)
    device = next(network.parameters()).device
    inputs = torch.from_numpy(normalise(resize(rgb, *size))).to(device)
    return predict_maps(network, inputs, size=rgb.shape[:2], settings=settings)


def with_crf(maps: Maps, rgb: np.ndarray, *, settings: CrfSettings) -> Maps:
    """The maps with probabilities that follow the colours of the image (H, W, 3) uint8; as they are without a CRF.

    Raises ValueError where they hold anything but numbers.
    """
    if not settings.iterations:
        return maps
    probabilities = dense_crf(rgb, maps.probabilities.cpu().numpy(), **settings.model_dump())
    return maps._replace(probabilities=torch.from_numpy(probabilities).to(maps.centers.device))


def small_maps(maps: Maps, image: str, *, longer_side: int) -> CenterMaps:
    """The maps made small, never enlarged: a cell's highest score over all classes, and the offset at its middle."""
    height, width = maps.offsets.shape[-2:]
    size = scaled_size(height, width, min(longer_side, max(height, width)))
    limits = torch.finfo(torch.float16)
    heatmap = functional.adaptive_max_pool2d(maps.centers.amax(0)[None], size)[0]
    offsets = functional.interpolate(maps.offsets[None], size, mode="nearest-exact")[0]
    heatmap, offsets = (values.clamp(limits.min, limits.max).half().cpu().numpy() for values in (heatmap, offsets))
    return CenterMaps(image=image, heatmap=heatmap, offsets=offsets)


def input_size(height: int, width: int, settings: MapSettings) -> tuple[int, int]:
    """Height and width of the network's input: scaled to the longer side, then enlarged to multiples of the step."""
    if settings.longer_side is not None:
        height, width = scaled_size(height, width, settings.longer_side)
    divisor = settings.side_step
    return divisor * math.ceil(height / divisor), divisor * math.ceil(width / divisor)


def load_network(weights: Path, images: Artifact[ImageRecord], *, device: str) -> tuple[BestieNetwork, dict[str, Any]]:
    """The trained network in evaluation mode, and the metadata of the weights file.

    Raises ValueError where the weights are not of `train_bestie`, do not fit, or know other classes than the images.
    """
    metadata = read_trained(weights, step="train_bestie", classes=images.header["classes"], listed=images.path)
    settings = BestieTrainingSettings.model_validate(metadata["settings"])
    network = BestieNetwork(settings, class_count=len(metadata["classes"]), load=False)
    load_weights(weights, network)
    return network.to(torch_device(device)).eval(), metadata


if __name__ == "__main__":
    step.run(predict_bestie)
