"""Step: reads a checkpoint of a classifier of PRM's or BESTIE's official code."""

from pathlib import Path

from stages.classifier.network import Classifier
from stages.classifier.official_weights import official_code
from stages.classifier.settings import ClassifierTrainingSettings
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone
from stages.core.networks.official import convert_checkpoint
from stages.core.workflow import step


def convert_classifier(
    *, checkpoint: Path, images: Path, output_weights: Path, output_card: Path, settings: ClassifierTrainingSettings
) -> None:
    """Write the checkpoint as what `train_classifier` writes, for the network of the settings and the images' classes.

    Raises ValueError as `convert_checkpoint` does, and for a head that no official code has.
    """
    with read(images, ImageRecord) as listing:
        classes = listing.header["classes"]
    network = Classifier(build_backbone(settings.backbone, load=False), class_count=len(classes), settings=settings)
    convert_checkpoint(
        checkpoint,
        network,
        official_code(settings),
        trained_by="train_classifier",
        settings=settings.model_dump(mode="json"),
        classes=classes,
        supervision="image tags",
        output_weights=output_weights,
        output_card=output_card,
    )


if __name__ == "__main__":
    step.run(convert_classifier)
