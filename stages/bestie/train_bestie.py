"""Step: trains BESTIE's network."""

import logging
from pathlib import Path

from stages.bestie.data import BestieTask
from stages.bestie.inputs import check_anything_accepted, check_classes
from stages.bestie.network import BestieNetwork
from stages.bestie.settings import BestieTrainingSettings
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import starting_weights
from stages.core.training.identity import training_identity
from stages.core.training.loop import TrainingOutputs, train
from stages.core.workflow import step

log = logging.getLogger(__name__)


def train_bestie(
    *,
    images: Path,
    pseudo_instances: Path,
    backbone_weights: Path | None,
    output_weights: Path,
    output_curves: Path,
    output_plot: Path,
    output_snapshots: Path,
    settings: BestieTrainingSettings,
    device: str,
) -> None:
    """Train the network on semantic maps and pseudo instances, refining its own labels as it goes.

    `backbone_weights` are a classifier's, needed where `backbone.weights` is classifier. Images without tags are
    listed in the log and left out. A checkpoint beside the weights lets a killed training go on.
    `output_snapshots` gets the weights after the updates that `settings.snapshots` lists.
    Raises ValueError where the pseudo instances are of other images, classes or sizes, or where there is none.
    """
    with read(images, ImageRecord) as listing, read(pseudo_instances, PseudoInstances) as pseudo:
        check_classes(listing, pseudo)
        check_anything_accepted(pseudo)
        step.seed_everything(settings.seed)
        classes = listing.header["classes"]
        network = BestieNetwork(settings, class_count=len(classes), classifier=backbone_weights)
        task = BestieTask(network, images=listing, pseudo=pseudo, settings=settings)
        log.info("training on %d of %d images", len(task.usable), len(listing))
        fingerprints = {"images": listing.fingerprint, "pseudo_instances": pseudo.fingerprint}
        metadata = {
            "step": "train_bestie",
            "settings": settings.model_dump(mode="json"),
            "inputs": fingerprints,
            "classes": classes,
            "supervision": pseudo.header["supervision"],
        }
        train(
            task,
            settings.training,
            folder=output_weights.parent / "checkpoint",
            identity=training_identity(
                "stages.bestie.train_bestie",
                settings,
                inputs=fingerprints,
                weights=starting_weights(settings.backbone.plain, classifier=backbone_weights),
            ),
            seed=settings.seed,
            device=device,
            outputs=TrainingOutputs(
                weights=output_weights,
                curves=output_curves,
                plot=output_plot,
                metadata=metadata,
                snapshots=output_snapshots,
            ),
            snapshots=settings.snapshots,
        )


if __name__ == "__main__":
    step.run(train_bestie)
