"""Step: finds instances in images with a trained Mask R-CNN."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.leaning import leaning_instances
from stages.core.artifacts.semantic_maps import SemanticMaps, check_given, labels_of
from stages.core.artifacts.storage import Artifact, Provenance, create, read, read_optional
from stages.core.artifacts.supervision import joint_supervision
from stages.core.images.loading import load_rgb
from stages.core.networks.devices import torch_device
from stages.core.networks.weights import load_weights, read_trained, weights_digest
from stages.core.workflow import step
from stages.mask_rcnn.detection import Detections, detect, full_masks, maskness, soft_masks
from stages.mask_rcnn.network import MaskRcnn
from stages.mask_rcnn.samples import scaled_image, scaled_size
from stages.mask_rcnn.settings import MaskRcnnPredictionSettings, MaskRcnnTrainingSettings
from stages.ops.crf import leaning, object_crf
from stages.ops.regions import Regions

log = logging.getLogger(__name__)

WIDENING = 1.5  # sides of what the CRF sees of an image, times those of the box


def predict_mask_rcnn(
    *,
    images: Path,
    weights: Path,
    output: Path,
    settings: MaskRcnnPredictionSettings,
    run: str,
    device: str,
    semantics: Path | None = None,
) -> None:
    """Find the instances of each image; tags and proposals are not read. An image may have none.

    The network is rebuilt from the settings inside the weights file, which also says what labels the run saw.
    `semantics` are the maps that masks and scores lean on, needed where `map_weight` or `map_power` is above 0.
    Raises ValueError where the weights are not of `train_mask_rcnn` or of other classes, or maps are missing or of
    other images or classes.
    """
    with read(images, ImageRecord) as listing, read_optional(semantics, SemanticMaps) as maps:
        check_given(maps, listing, settings)
        network, metadata = load_network(weights, listing, settings, device=device)
        seen = [metadata["supervision"]] + ([] if maps is None else [maps.header["supervision"]])
        header = {
            "classes": listing.header["classes"],
            "category_ids": listing.header["category_ids"],
            "run": run,
            "method": metadata["method"],
            "supervision": joint_supervision(*seen),
            "weights": weights_digest(weights),
        }
        inputs = {"images": listing} | ({} if maps is None else {"semantics": maps})
        provenance = Provenance("predict_mask_rcnn", settings, None, inputs)
        counts = []
        with create(output, Instances, header=header, provenance=provenance) as instances:
            for image in step.progress(listing, total=len(listing), label="images"):
                labels = None if maps is None else labels_of(maps, image.image, (int(image.height), int(image.width)))
                record = find_instances(network, image, root=listing.header["root"], settings=settings, labels=labels)
                instances.append(record)
                counts.append(len(record.scores))
        log.info("%d instances in %d images, %d without any", sum(counts), len(counts), counts.count(0))


def find_instances(
    network: MaskRcnn,
    image: ImageRecord,
    *,
    root: str,
    settings: MaskRcnnPredictionSettings,
    labels: np.ndarray | None = None,
) -> Instances:
    """The instances of one image, best first; masks without a pixel are left out.

    Scores are the network's, times `maskness` to its power. `labels` (H, W) uint8 is the image's semantic map, where
    one is read: in the CRF as `leaning` says, in the scores as `leaning_instances` does.
    """
    rgb = load_rgb(image, root)
    height, width = rgb.shape[:2]
    limits = {"shorter_side": settings.shorter_side, "longest_side": settings.longest_side}
    size = scaled_size(height, width, **limits)
    device = next(network.parameters()).device
    found = detect(network, scaled_image(rgb, size, flip=False).to(device), flip=settings.flip)
    boxes = found.boxes.cpu() * found.boxes.new_tensor([width / size[1], height / size[0]] * 2).cpu()
    classes = found.classes.cpu().numpy().astype(np.int32)
    masks = _masks(rgb, found, boxes, classes, labels, settings)
    sure = maskness(found.masks, threshold=settings.mask_threshold) ** settings.maskness_power
    return leaning_instances(
        image.image, Regions.from_masks(masks), classes=classes, scores=found.scores.cpu().numpy() * sure,
        boxes=boxes.numpy(), labels=labels, settings=settings,
    )  # fmt: skip


def _masks(
    rgb: np.ndarray,
    found: Detections,
    boxes: Tensor,
    classes: np.ndarray,
    labels: np.ndarray | None,
    settings: MaskRcnnPredictionSettings,
) -> np.ndarray:
    """Masks (N, H, W) bool of detections whose boxes (N, 4) are in pixels of the image; a CRF refines the best."""
    size = rgb.shape[:2]
    best = min(settings.crf_instances, len(boxes)) if settings.crf.iterations else 0
    probabilities = soft_masks(found.masks[:best], boxes[:best], size)
    if labels is not None and settings.masks_lean:
        for i in range(best):
            probabilities[i] = leaning(probabilities[i], labels == 1 + classes[i], weight=settings.map_weight)
    followed = object_crf(
        rgb, probabilities, boxes[:best].numpy(),
        wanted=np.ones(best, bool), threshold=settings.mask_threshold, widening=WIDENING, crf=settings.crf.model_dump(),
    )  # fmt: skip
    plain = full_masks(found.masks[best:], boxes[best:], size, threshold=settings.mask_threshold)
    return np.concatenate([followed, plain])


def load_network(
    weights: Path, images: Artifact[ImageRecord], settings: MaskRcnnPredictionSettings, *, device: str
) -> tuple[MaskRcnn, dict[str, Any]]:
    """The trained network in evaluation mode, and the metadata of the weights file.

    Raises ValueError where the weights are not of `train_mask_rcnn`, do not fit, or know other classes than the images.
    """
    metadata = read_trained(weights, step="train_mask_rcnn", classes=images.header["classes"], listed=images.path)
    trained = metadata.section(MaskRcnnTrainingSettings)
    network = MaskRcnn(trained, class_count=len(metadata["classes"]), prediction=settings)
    load_weights(weights, network)
    return network.to(torch_device(device)).eval(), metadata


if __name__ == "__main__":
    step.run(predict_mask_rcnn)
