"""Step: reads a checkpoint of CIM's official code."""

from pathlib import Path

from stages.cim.network import CimNetwork
from stages.cim.official_weights import official_code
from stages.cim.settings import CimTrainingSettings
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone
from stages.core.networks.official import convert_checkpoint
from stages.core.workflow import step


def convert_cim(
    *,
    checkpoint: Path,
    images: Path,
    output_weights: Path,
    output_card: Path,
    settings: CimTrainingSettings,
    supervision: str,
) -> None:
    """Write the checkpoint as what `train_cim` writes, for the network of the settings and the images' classes.

    Raises ValueError as `convert_checkpoint` does.
    """
    with read(images, ImageRecord) as listing:
        classes = listing.header["classes"]
    network = CimNetwork(
        build_backbone(settings.backbone, load=False), class_count=len(classes), settings=settings.network
    )
    convert_checkpoint(
        checkpoint,
        network,
        official_code(settings),
        trained_by="train_cim",
        settings=settings.model_dump(mode="json"),
        classes=classes,
        supervision=supervision,
        output_weights=output_weights,
        output_card=output_card,
    )


if __name__ == "__main__":
    step.run(convert_cim)
