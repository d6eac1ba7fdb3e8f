"""Step: finds instances in images with a trained Mask R-CNN."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.images.loading import load_rgb
from stages.core.networks.devices import torch_device
from stages.core.networks.weights import load_weights, read_trained, weights_digest
from stages.core.workflow import step
from stages.mask_rcnn.detection import detect, full_masks, soft_masks
from stages.mask_rcnn.network import MaskRcnn
from stages.mask_rcnn.samples import scaled_image, scaled_size
from stages.mask_rcnn.settings import MaskRcnnPredictionSettings, MaskRcnnTrainingSettings
from stages.ops.crf import object_crf
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
) -> None:
    """Find the instances of each image; tags and proposals are not read. An image may have none.

    The network is rebuilt from the settings inside the weights file, which also says what labels the run saw.
    Raises ValueError where the weights are not of `train_mask_rcnn` or of other classes.
    """
    with read(images, ImageRecord) as listing:
        network, metadata = load_network(weights, listing, settings, device=device)
        header = {
            "classes": listing.header["classes"],
            "category_ids": listing.header["category_ids"],
            "run": run,
            "method": metadata["method"],
            "supervision": metadata["supervision"],
            "weights": weights_digest(weights),
        }
        provenance = Provenance("predict_mask_rcnn", settings, None, {"images": listing})
        counts = []
        with create(output, Instances, header=header, provenance=provenance) as instances:
            for image in step.progress(listing, total=len(listing), label="images"):
                record = find_instances(network, image, root=listing.header["root"], settings=settings)
                instances.append(record)
                counts.append(len(record.scores))
        log.info("%d instances in %d images, %d without any", sum(counts), len(counts), counts.count(0))


def find_instances(
    network: MaskRcnn, image: ImageRecord, *, root: str, settings: MaskRcnnPredictionSettings
) -> Instances:
    """The instances of one image, best first; masks without a pixel are left out."""
    rgb = load_rgb(image, root)
    height, width = rgb.shape[:2]
    limits = {"shorter_side": settings.shorter_side, "longest_side": settings.longest_side}
    size = scaled_size(height, width, **limits)
    device = next(network.parameters()).device
    found = detect(network, scaled_image(rgb, size, flip=False).to(device), flip=settings.flip)
    boxes = found.boxes.cpu() * found.boxes.new_tensor([width / size[1], height / size[0]] * 2).cpu()
    best = min(settings.crf_instances, len(boxes)) if settings.crf.iterations else 0
    followed = object_crf(
        rgb, soft_masks(found.masks[:best], boxes[:best], (height, width)), boxes[:best].numpy(),
        wanted=np.ones(best, bool), threshold=settings.mask_threshold, widening=WIDENING, crf=settings.crf.model_dump(),
    )  # fmt: skip
    plain = full_masks(found.masks[best:], boxes[best:], (height, width), threshold=settings.mask_threshold)
    masks = np.concatenate([followed, plain])
    filled = masks.any((1, 2))
    return Instances(
        image=image.image,
        classes=found.classes.cpu().numpy().astype(np.int32)[filled],
        scores=found.scores.cpu().numpy()[filled],
        boxes=boxes.numpy().astype(np.float32)[filled],
        **packed_fields(Regions.from_masks(masks[filled])),
    )


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
