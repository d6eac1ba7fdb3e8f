"""Step: reads a checkpoint of BESTIE's official code."""

from pathlib import Path

from stages.bestie.network import BestieNetwork
from stages.bestie.official_weights import official_code
from stages.bestie.settings import BestieTrainingSettings
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import read
from stages.core.networks.official import convert_checkpoint
from stages.core.workflow import step


def convert_bestie(
    *,
    checkpoint: Path,
    images: Path,
    output_weights: Path,
    output_card: Path,
    settings: BestieTrainingSettings,
    supervision: str,
) -> None:
    """Write the checkpoint as what `train_bestie` writes, for the network of the settings and the images' classes.

    Raises ValueError as `convert_checkpoint` does.
    """
    with read(images, ImageRecord) as listing:
        classes = listing.header["classes"]
    convert_checkpoint(
        checkpoint,
        BestieNetwork(settings, class_count=len(classes), load=False),
        official_code(settings),
        trained_by="train_bestie",
        settings=settings.model_dump(mode="json"),
        classes=classes,
        supervision=supervision,
        output_weights=output_weights,
        output_card=output_card,
    )


if __name__ == "__main__":
    step.run(convert_bestie)
