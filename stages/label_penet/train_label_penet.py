"""Step: fine-tunes the four pre-trained modules of Label-PEnet together, forward and backward in turns."""

import logging
from pathlib import Path

from stages.core.artifacts.images import ImageRecord, log_training_images
from stages.core.artifacts.proposals import Proposals, ranked_by
from stages.core.artifacts.storage import read
from stages.core.networks.weights import load_tensors, read_trained, read_weights
from stages.core.training.loop import TrainingOutputs
from stages.core.training.run import run_training
from stages.core.workflow import step
from stages.label_penet.cascade import Cascade
from stages.label_penet.settings import MODULES, FinetuningSettings
from stages.label_penet.task import MixedTask
from stages.label_penet.weights import PRETRAINED

log = logging.getLogger(__name__)


def train_label_penet(
    *,
    images: Path,
    proposals: Path,
    modules: list[Path],
    output_weights: Path,
    output_curves: Path,
    output_plot: Path,
    output_snapshots: Path,
    settings: FinetuningSettings,
    device: str,
) -> None:
    """Train all modules on tags and proposals, each from its own file of `modules`, in the order of the cascade.

    The backbone starts from the first file; all files hold the same, since pre-training leaves it as it is.
    `output_snapshots` gets the weights after the updates that `settings.snapshots` lists.
    A checkpoint beside the weights lets a killed training go on.
    Raises ValueError where the files are not of the four modules in their order, of other classes, or other settings.
    """
    with read(images, ImageRecord) as listing, read(proposals, Proposals) as candidates:
        classes = listing.header["classes"]
        step.seed_everything(settings.seed)
        network = Cascade(
            settings.network, settings.losses, class_count=len(classes), modules=list(MODULES), load=False
        )
        load_modules(network, modules, classes=classes, listed=listing.path)
        task = MixedTask(network, images=listing, proposals=candidates, settings=settings)
        log_training_images(listing, task.usable)
        run_training(
            task,
            settings,
            module="stages.label_penet.train_label_penet",
            inputs={"images": listing, "proposals": candidates},
            weights=dict(zip(MODULES, modules, strict=True)),
            supervision=ranked_by(candidates),
            outputs=TrainingOutputs(output_weights, output_curves, output_plot, snapshots=output_snapshots),
            device=device,
            snapshots=settings.snapshots,
        )


def load_modules(network: Cascade, paths: list[Path], *, classes: list[str], listed: Path) -> None:
    """Load the modules of the cascade from their files, and the backbone from the first."""
    if len(paths) != len(MODULES):
        raise ValueError(f"{len(paths)} files of modules are given, expected those of {list(MODULES)}")
    for place, (path, module) in enumerate(zip(paths, MODULES, strict=True)):
        found = read_trained(path, step=PRETRAINED, classes=classes, listed=listed).setting("module")
        if found != module:
            raise ValueError(
                f"{path} holds the module {found}, expected {module}; give the files in the cascade's order"
            )
        load_tensors(read_weights(path, start=f"stages.{module}."), network.stages[module], path)
        if place == 0:
            load_tensors(read_weights(path, start="backbone."), network.backbone, path)


if __name__ == "__main__":
    step.run(train_label_penet)
