"""Step: pre-trains one module of Label-PEnet on what its predecessor says, with a frozen backbone."""

import contextlib
import logging
from pathlib import Path

from stages.core.artifacts.images import ImageRecord, check_classes, log_training_images
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals, ranked_by
from stages.core.artifacts.storage import Artifact, read
from stages.core.networks.backbones import starting_weights
from stages.core.training.loop import TrainingOutputs
from stages.core.training.run import run_training
from stages.core.workflow import step
from stages.label_penet.cascade import Cascade
from stages.label_penet.settings import MODULES, ModuleSettings
from stages.label_penet.task import ModuleTask

log = logging.getLogger(__name__)


def pretrain_module(
    *,
    images: Path,
    proposals: Path | None,
    labels: Path | None,
    backbone_weights: Path | None,
    output_weights: Path,
    output_curves: Path,
    output_plot: Path,
    settings: ModuleSettings,
    device: str,
) -> None:
    """Train the module of the settings: the first on tags and proposals, the others on the labels of the one before.

    `backbone_weights` are a classifier's, needed where `backbone.weights` is classifier. A checkpoint beside the
    weights lets a killed training go on.
    Raises ValueError where labels are of other classes, of another module than the predecessor, or missing, and where
    the loss of the first module compares classes, but there is one alone.
    """
    with contextlib.ExitStack() as stack:
        listing = stack.enter_context(read(images, ImageRecord))
        candidates = None if proposals is None else stack.enter_context(read(proposals, Proposals))
        objects = None if labels is None else stack.enter_context(read(labels, ModuleLabels))
        _check(listing, candidates, objects, settings)
        _check_mil(listing.header["classes"], settings)
        step.seed_everything(settings.seed)
        network = Cascade(
            settings.network, settings.losses, class_count=len(listing.header["classes"]), modules=[settings.module],
            classifier=backbone_weights,
        )  # fmt: skip
        network.backbone.requires_grad_(False)
        task = ModuleTask(network, images=listing, proposals=candidates, labels=objects, settings=settings)
        log.info("training the module %s", settings.module)
        log_training_images(listing, task.usable)
        given = {"images": listing, "proposals": candidates, "labels": objects}
        run_training(
            task,
            settings,
            module="stages.label_penet.pretrain_module",
            inputs={name: one for name, one in given.items() if one is not None},
            weights={"backbone": starting_weights(settings.network.backbone, classifier=backbone_weights)},
            supervision=ranked_by(candidates),
            outputs=TrainingOutputs(output_weights, output_curves, output_plot),
            device=device,
        )


def _check_mil(classes: list[str], settings: ModuleSettings) -> None:
    if settings.module == "classification" and settings.losses.mil != "binary" and len(classes) == 1:
        raise ValueError(
            f"losses.mil is {settings.losses.mil!r}, which compares classes, but {classes[0]!r} is the only one: "
            "nothing would be learned; set label_penet.train.losses.mil: binary"
        )


def _check(
    images: Artifact[ImageRecord], proposals: Artifact[Proposals] | None, labels: Artifact[ModuleLabels] | None,
    settings: ModuleSettings,
) -> None:  # fmt: skip
    place = MODULES.index(settings.module)
    if (proposals is None) != (place > 0) or (labels is None) != (place == 0):
        raise ValueError(
            f"module {settings.module} learns from {'the labels of the one before' if place else 'proposals'}; give"
            " these and nothing else"
        )
    if labels is None:
        return
    before = MODULES[place - 1]
    if labels.header["module"] != before:
        raise ValueError(f"{labels.path} holds labels of module {labels.header['module']}, expected those of {before}")
    check_classes(images, labels, remedy="make the labels again")


if __name__ == "__main__":
    step.run(pretrain_module)
