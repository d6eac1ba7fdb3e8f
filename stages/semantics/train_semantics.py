"""Step: trains a segmentation network on labels of pixels."""

import logging
from pathlib import Path

from stages.core.artifacts.images import ImageRecord, log_training_images
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone, starting_weights
from stages.core.training.loop import TrainingOutputs
from stages.core.training.run import run_training
from stages.core.workflow import step
from stages.semantics.maps import check_maps
from stages.semantics.network import SegmentationNetwork
from stages.semantics.settings import SegmentationTrainingSettings
from stages.semantics.task import SegmentationTask

log = logging.getLogger(__name__)


def train_semantics(
    *,
    images: Path,
    labels: Path,
    backbone_weights: Path | None,
    output_weights: Path,
    output_curves: Path,
    output_plot: Path,
    settings: SegmentationTrainingSettings,
    device: str,
) -> None:
    """Train on the pixels that `labels` decide; images without any are listed in the log and left out.

    `backbone_weights` are a classifier's, needed where `backbone.weights` is classifier. A checkpoint beside the
    weights lets a killed training go on. The weights' metadata hold settings and classes, from which the network can be
    built again.
    Raises ValueError where the labels are of other images or classes, or all uncertain.
    """
    with read(images, ImageRecord) as listing, read(labels, SemanticMaps) as maps:
        check_maps(maps, listing)
        step.seed_everything(settings.seed)
        network = SegmentationNetwork(
            build_backbone(settings.backbone, classifier=backbone_weights),
            stage=settings.backbone.stage,
            class_count=len(listing.header["classes"]),
            settings=settings.head,
        )
        task = SegmentationTask(network, images=listing, labels=maps, settings=settings)
        seen = settings.data.batch * settings.training.accumulate * settings.training.steps
        log_training_images(listing, [listing.index(image) for image in task.usable])
        log.info("each image is seen %.1f times", seen / len(task.usable))
        run_training(
            task,
            settings,
            module="stages.semantics.train_semantics",
            inputs={"images": listing, "labels": maps},
            weights={"backbone": starting_weights(settings.backbone, classifier=backbone_weights)},
            supervision=maps.header["supervision"],
            outputs=TrainingOutputs(output_weights, output_curves, output_plot),
            device=device,
        )


if __name__ == "__main__":
    step.run(train_semantics)
