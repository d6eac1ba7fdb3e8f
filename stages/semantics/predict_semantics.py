"""Step: semantic maps of images from a trained segmentation network."""

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.images.loading import load_rgb, normalise
from stages.core.networks.backbones import build_backbone
from stages.core.networks.devices import torch_device
from stages.core.networks.weights import load_weights, read_trained, weights_digest
from stages.core.workflow import step
from stages.ops.crf import dense_crf
from stages.ops.resize import resize, scaled_size
from stages.semantics.maps import listed
from stages.semantics.network import SegmentationNetwork
from stages.semantics.settings import SegmentationPredictionSettings, SegmentationTrainingSettings

log = logging.getLogger(__name__)


def predict_semantics(
    *,
    images: Path,
    weights: Path,
    output: Path,
    settings: SegmentationPredictionSettings,
    source: str,
    device: str,
) -> None:
    """Write the map of every image at its own size, in the order of `images`; no pixel is uncertain.

    On the splits of `tagged_on` only background and the classes of an image's tags may win. An image there that shows
    none of the classes is background; those that nobody looked at may hold any class, and are counted in the log.
    Raises ValueError where the weights are not of `train_semantics` or of other classes.
    """
    with read(images, ImageRecord) as listing:
        network, metadata = load_network(weights, listing, device=device)
        tagged = listing.header["split"] in settings.tagged_on
        header = {
            "classes": listing.header["classes"],
            "source": source,
            "supervision": metadata["supervision"],
            "weights": weights_digest(weights),
        }
        made_by = Provenance("predict_semantics", settings, None, {"images": listing})
        unknown = []
        with create(output, SemanticMaps, header=header, provenance=made_by) as writer:
            for image in step.progress(listing, total=len(listing), label="images"):
                allowed = image.tags if tagged and image.looked_at else np.ones_like(image.tags)
                if tagged and not image.looked_at:
                    unknown.append(image.image)
                rgb = load_rgb(image, listing.header["root"])
                labels = predicted_map(network, rgb, np.flatnonzero(allowed), settings)
                writer.append(SemanticMaps(image=image.image, labels=labels))
        log.info("tags of split %s were %s", listing.header["split"], "used" if tagged else "not used")
        if unknown:
            log.warning("nobody looked at %d images, which may hold any class: %s", len(unknown), listed(unknown))


def predicted_map(
    network: SegmentationNetwork, rgb: np.ndarray, classes: np.ndarray, settings: SegmentationPredictionSettings
) -> np.ndarray:
    """Map (H, W) uint8 of one image: 0 background, 1 + k class k.

    Args:
        network: on its device, in evaluation mode.
        rgb: (H, W, 3) uint8.
        classes: (n,) indices of the classes that may win; without any, all is background.
        settings: sizes, flip, CRF.
    """
    if not len(classes):
        return np.zeros(rgb.shape[:2], np.uint8)
    values = np.concatenate([[0], 1 + np.asarray(classes)]).astype(np.uint8)
    probabilities = mean_probabilities(network, rgb, settings)[values]
    probabilities /= np.maximum(probabilities.sum(0, keepdims=True), np.finfo(np.float32).tiny)
    return values[dense_crf(rgb, probabilities, **settings.crf.model_dump()).argmax(0)]


@torch.inference_mode()
def mean_probabilities(
    network: SegmentationNetwork, rgb: np.ndarray, settings: SegmentationPredictionSettings
) -> np.ndarray:
    """Probabilities (C + 1, H, W) float32, background first: the mean over scales and mirror images."""
    height, width = rgb.shape[:2]
    device = next(network.parameters()).device
    total, passes = 0.0, 0
    for scale in settings.scales:
        longest = max(1, round((settings.longer_side or max(height, width)) * scale))
        scaled = resize(rgb, *scaled_size(height, width, longest))
        inputs = torch.from_numpy(normalise(scaled))[None].to(device)
        for mirrored in (False, True) if settings.flip else (False,):
            found = network(inputs.flip(3) if mirrored else inputs).softmax(1)
            found = (found.flip(3) if mirrored else found)[0].cpu().numpy()
            total = total + np.stack(
                [cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in found]
            )
            passes += 1
    return total / np.float32(passes)


def load_network(
    weights: Path, images: Artifact[ImageRecord], *, device: str
) -> tuple[SegmentationNetwork, dict[str, Any]]:
    """The trained network in evaluation mode, and the metadata of the weights file.

    Raises ValueError where the weights are not of `train_semantics`, do not fit, or know other classes than the images.
    """
    metadata = read_trained(weights, step="train_semantics", classes=images.header["classes"], listed=images.path)
    trained = metadata.section(SegmentationTrainingSettings)
    network = SegmentationNetwork(
        build_backbone(trained.backbone, load=False),
        stage=trained.backbone.stage,
        class_count=len(metadata["classes"]),
        settings=trained.head,
    )
    load_weights(weights, network)
    return network.to(torch_device(device)).eval(), metadata


if __name__ == "__main__":
    step.run(predict_semantics)
