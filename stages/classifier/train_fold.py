"""Step: trains a classifier on all images but those of one fold, for the report of suspect tags."""

import logging
from pathlib import Path

from stages.classifier.folds import held_out
from stages.classifier.network import Classifier
from stages.classifier.settings import FoldTrainingSettings
from stages.classifier.task import ClassifierTask
from stages.core.artifacts.images import ImageRecord, log_training_images
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone, starting_weights
from stages.core.training.loop import TrainingOutputs
from stages.core.training.run import run_training
from stages.core.workflow import step

log = logging.getLogger(__name__)


def train_fold(
    *,
    images: Path,
    output_weights: Path,
    output_curves: Path,
    output_plot: Path,
    settings: FoldTrainingSettings,
    device: str,
) -> None:
    """Train as `train_classifier` does, without the images of a fold; the weights' metadata name these.

    Raises ValueError as `folds_of`, and where the other folds have no tag.
    """
    with read(images, ImageRecord) as listing:
        step.seed_everything(settings.seed)
        network = Classifier(
            build_backbone(settings.backbone), class_count=len(listing.header["classes"]), settings=settings
        )
        left_out = held_out(listing, fold=settings.fold, count=settings.folds, seed=settings.fold_seed)
        task = ClassifierTask(network, images=listing, settings=settings, left_out=left_out)
        log.info("fold %d of %d, %d images are held out", settings.fold + 1, settings.folds, len(left_out))
        log_training_images(listing, task.usable)
        run_training(
            task,
            settings,
            module="stages.classifier.train_fold",
            inputs={"images": listing},
            weights={"backbone": starting_weights(settings.backbone)},
            supervision="image tags",
            outputs=TrainingOutputs(output_weights, output_curves, output_plot),
            device=device,
            held_out=[listing.ids[i] for i in left_out],
        )


if __name__ == "__main__":
    step.run(train_fold)
