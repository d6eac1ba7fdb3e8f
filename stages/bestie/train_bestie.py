"""Step: trains BESTIE's network."""

import logging
from pathlib import Path

from stages.bestie.inputs import check_anything_accepted, check_classes
from stages.bestie.network import BestieNetwork
from stages.bestie.settings import BestieTrainingSettings
from stages.bestie.task import BestieTask
from stages.core.artifacts.images import ImageRecord, log_training_images
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import starting_weights
from stages.core.training.loop import TrainingOutputs
from stages.core.training.run import run_training
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

    `backbone_weights` are a classifier's, needed where `backbone.weights` is classifier. Images that show none of the
    classes are background; those that nobody looked at are left out. A checkpoint beside the weights lets a killed
    training go on. `output_snapshots` gets the weights after the updates that `settings.snapshots` lists.
    Raises ValueError where the pseudo instances are of other images, classes or sizes, or where there is none.
    """
    with read(images, ImageRecord) as listing, read(pseudo_instances, PseudoInstances) as pseudo:
        check_classes(listing, pseudo)
        check_anything_accepted(pseudo)
        step.seed_everything(settings.seed)
        classes = listing.header["classes"]
        network = BestieNetwork(settings, class_count=len(classes), classifier=backbone_weights)
        task = BestieTask(network, images=listing, pseudo=pseudo, settings=settings)
        log_training_images(listing, task.usable)
        run_training(
            task,
            settings,
            module="stages.bestie.train_bestie",
            inputs={"images": listing, "pseudo_instances": pseudo},
            weights={"backbone": starting_weights(settings.backbone.plain, classifier=backbone_weights)},
            supervision=pseudo.header["supervision"],
            outputs=TrainingOutputs(output_weights, output_curves, output_plot, snapshots=output_snapshots),
            device=device,
            snapshots=settings.snapshots,
        )


if __name__ == "__main__":
    step.run(train_bestie)
