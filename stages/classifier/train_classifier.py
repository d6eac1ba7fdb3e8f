"""Step: trains a classifier on image tags."""

import logging
from pathlib import Path

from stages.classifier.network import Classifier
from stages.classifier.settings import ClassifierTrainingSettings
from stages.classifier.task import ClassifierTask
from stages.core.artifacts.images import ImageRecord, log_training_images
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone, starting_weights
from stages.core.training.loop import TrainingOutputs
from stages.core.training.run import run_training
from stages.core.workflow import step

log = logging.getLogger(__name__)


def train_classifier(
    *,
    images: Path,
    output_weights: Path,
    output_curves: Path,
    output_plot: Path,
    settings: ClassifierTrainingSettings,
    device: str,
) -> None:
    """Train on the tags of `images`; those that show none of the classes are learned from, too.

    A checkpoint in the folder `checkpoint` beside the weights lets a killed training go on. The weights' metadata hold
    the settings and classes, from which the network can be built again.
    """
    if settings.backbone.weights == "classifier":
        raise ValueError("a classifier's backbone cannot start from a classifier; set weights to timm, none or a file")
    with read(images, ImageRecord) as listing:
        step.seed_everything(settings.seed)
        network = Classifier(
            build_backbone(settings.backbone), class_count=len(listing.header["classes"]), settings=settings
        )
        task = ClassifierTask(network, images=listing, settings=settings)
        seen = settings.batch * settings.training.accumulate * settings.training.steps
        log_training_images(listing, task.usable)
        log.info("each image is seen %.1f times", seen / len(task.usable))
        run_training(
            task,
            settings,
            module="stages.classifier.train_classifier",
            inputs={"images": listing},
            weights={"backbone": starting_weights(settings.backbone)},
            supervision="image tags",
            outputs=TrainingOutputs(output_weights, output_curves, output_plot),
            device=device,
        )


if __name__ == "__main__":
    step.run(train_classifier)
