"""Step: trains a Mask R-CNN on pseudo masks."""

import logging
from pathlib import Path

import numpy as np

from stages.core.artifacts.images import ImageRecord, check_classes, check_images, log_training_images
from stages.core.artifacts.instances import Instances, check_pseudo_masks
from stages.core.artifacts.storage import Artifact, read
from stages.core.networks.backbones import starting_weights
from stages.core.training.loop import TrainingOutputs
from stages.core.training.run import run_training
from stages.core.workflow import step
from stages.mask_rcnn.network import MaskRcnn
from stages.mask_rcnn.settings import MaskRcnnTrainingSettings
from stages.mask_rcnn.task import MaskRcnnTask

log = logging.getLogger(__name__)


def train_mask_rcnn(
    *,
    images: Path,
    pseudo_masks: Path,
    backbone_weights: Path | None,
    output_weights: Path,
    output_curves: Path,
    output_plot: Path,
    settings: MaskRcnnTrainingSettings,
    device: str,
) -> None:
    """Train the network on the images that the pseudo masks list; those that they leave out are not seen.

    `backbone_weights` are a classifier's, needed where `backbone.weights` is classifier. A checkpoint beside the
    weights lets a killed training go on.
    Raises ValueError where the pseudo masks are of other images or classes, or where scores are to be weights but
    most of them lie outside [0, 1].
    """
    with read(images, ImageRecord) as listing, read(pseudo_masks, Instances) as masks:
        _check(listing, masks, settings)
        step.seed_everything(settings.seed)
        network = MaskRcnn(settings, class_count=len(listing.header["classes"]), classifier=backbone_weights)
        task = MaskRcnnTask(network, images=listing, pseudo_masks=masks, settings=settings)
        log_training_images(listing, [listing.index(image) for image in masks.ids])
        run_training(
            task,
            settings,
            module="stages.mask_rcnn.train_mask_rcnn",
            inputs={"images": listing, "pseudo_masks": masks},
            weights={"backbone": starting_weights(settings.backbone.plain, classifier=backbone_weights)},
            supervision=masks.header["supervision"],
            outputs=TrainingOutputs(output_weights, output_curves, output_plot),
            device=device,
            method=f"{masks.header['method']} + mask_rcnn",
        )


def _check(images: Artifact[ImageRecord], masks: Artifact[Instances], settings: MaskRcnnTrainingSettings) -> None:
    check_pseudo_masks(masks)
    check_classes(images, masks, remedy="remake the pseudo masks")
    check_images(masks, images, remedy="remake the pseudo masks from this list of images")
    scores = np.concatenate([np.zeros(0, np.float32), *(masks.field(i, "scores") for i in range(len(masks)))])
    if not len(scores):
        raise ValueError(f"{masks.path} holds no pseudo mask; lower mask_rcnn.pseudo_masks.score_threshold")
    if settings.loss_weights == "scores":
        _check_weights(scores, masks)


def _check_weights(scores: np.ndarray, masks: Artifact[Instances]) -> None:
    """Scores outside [0, 1] are limited to it, see `scaled_target`; where most are, they are no confidences."""
    outside = int(((scores < 0) | (scores > 1)).sum())
    if 2 * outside > len(scores):
        raise ValueError(
            f"{masks.path} holds scores from {scores.min():g} to {scores.max():g}, {outside} of {len(scores)} outside "
            "[0, 1], and loss_weights is 'scores', for which most must lie in it; set it to 'ones'"
        )
    if outside:
        log.info("%d of %d scores lie outside [0, 1] and are limited to it as weights", outside, len(scores))


if __name__ == "__main__":
    step.run(train_mask_rcnn)
