"""Step: trains a segmentation network on labels of pixels."""

import logging
from pathlib import Path

from stages.core.artifacts.images import ImageRecord, log_training_images
from stages.core.artifacts.semantic_maps import SemanticMaps, check_maps
from stages.core.artifacts.storage import read
from stages.core.artifacts.supervision import joint_supervision
from stages.core.networks.backbones import build_backbone, starting_weights
from stages.core.networks.weights import load_weights, read_trained
from stages.core.training.loop import TrainingOutputs
from stages.core.training.run import run_training
from stages.core.workflow import step
from stages.semantics.network import SegmentationNetwork
from stages.semantics.settings import SegmentationTrainingSettings
from stages.semantics.task import SegmentationTask

log = logging.getLogger(__name__)


def train_semantics(
    *,
    images: Path,
    labels: Path,
    backbone_weights: Path | None,
    start: Path | None,
    output_weights: Path,
    output_curves: Path,
    output_plot: Path,
    settings: SegmentationTrainingSettings,
    device: str,
) -> None:
    """Train on the pixels that `labels` decide; images without any are listed in the log and left out.

    `start` is a trained segmentation network of the same layers and classes, from which this one goes on, backbone
    and head. Without it the head starts from noise, and the backbone as `backbone.weights` says: where that is
    classifier, from `backbone_weights`. A checkpoint beside the weights lets a killed training go on. The weights'
    metadata hold settings and classes, from which the network can be built again; its supervision is that of the
    labels and of `start`.
    Raises ValueError where the labels are of other images or classes, or all uncertain, and where `start` is of other
    classes or layers.
    """
    with read(images, ImageRecord) as listing, read(labels, SemanticMaps) as maps:
        check_maps(maps, listing)
        step.seed_everything(settings.seed)
        network = SegmentationNetwork(
            build_backbone(settings.backbone, classifier=backbone_weights, load=start is None),
            stage=settings.backbone.stage,
            class_count=len(listing.header["classes"]),
            settings=settings.head,
        )
        supervision = maps.header["supervision"]
        if start is None:
            weights = {"backbone": starting_weights(settings.backbone, classifier=backbone_weights)}
        else:
            before = read_trained(start, step="train_semantics", classes=listing.header["classes"], listed=images)
            load_weights(start, network)
            supervision = joint_supervision(before["supervision"], supervision)
            weights = {"network": start}
        task = SegmentationTask(network, images=listing, labels=maps, settings=settings)
        seen = settings.data.batch * settings.training.accumulate * settings.training.steps
        log_training_images(listing, [listing.index(image) for image in task.usable])
        log.info("each image is seen %.1f times", seen / len(task.usable))
        run_training(
            task,
            settings,
            module="stages.semantics.train_semantics",
            inputs={"images": listing, "labels": maps},
            weights=weights,
            supervision=supervision,
            outputs=TrainingOutputs(output_weights, output_curves, output_plot),
            device=device,
        )


if __name__ == "__main__":
    step.run(train_semantics)
