"""Step: trains CIM's network."""

import contextlib
import logging
from pathlib import Path

from stages.cim.network import CimNetwork
from stages.cim.settings import CimTrainingSettings
from stages.cim.task import CimTask
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.images import ImageRecord, check_classes, log_training_images
from stages.core.artifacts.proposals import Proposals, ranked_by
from stages.core.artifacts.storage import Artifact, read
from stages.core.artifacts.supervision import TAGS, joint_supervision
from stages.core.networks.backbones import build_backbone, starting_weights
from stages.core.training.loop import TrainingOutputs
from stages.core.training.run import run_training
from stages.core.workflow import step

log = logging.getLogger(__name__)


def train_cim(
    *,
    images: Path,
    proposals: Path,
    cluster_labels: Path | None,
    backbone_weights: Path | None,
    output_weights: Path,
    output_curves: Path,
    output_plot: Path,
    settings: CimTrainingSettings,
    device: str,
) -> None:
    """Train the network on tags, proposals and, unless `pseudo_labels` is none, AGPL's cluster labels.

    `backbone_weights` are a classifier's, needed where `backbone.weights` is classifier. All proposals of an image that
    shows none of the classes are background. Images that nobody looked at, or without proposals, are left out. A
    checkpoint beside the weights lets a killed training go on.
    Raises ValueError where the labels belong to other proposals or classes, or are missing or not wanted.
    """
    with contextlib.ExitStack() as stack:
        listing = stack.enter_context(read(images, ImageRecord))
        candidates = stack.enter_context(read(proposals, Proposals))
        labels = None if cluster_labels is None else stack.enter_context(read(cluster_labels, ClusterLabels))
        _check_labels(labels, listing, candidates, settings)
        step.seed_everything(settings.seed)
        backbone = build_backbone(settings.backbone, classifier=backbone_weights)
        network = CimNetwork(backbone, class_count=len(listing.header["classes"]), settings=settings.network)
        task = CimTask(network, images=listing, proposals=candidates, labels=labels, settings=settings)
        log_training_images(listing, task.usable)
        inputs = {"images": listing, "proposals": candidates} | ({} if labels is None else {"cluster_labels": labels})
        run_training(
            task,
            settings,
            module="stages.cim.train_cim",
            inputs=inputs,
            weights={"backbone": starting_weights(settings.backbone, classifier=backbone_weights)},
            supervision=joint_supervision(
                TAGS if labels is None else labels.header["supervision"], ranked_by(candidates)
            ),
            outputs=TrainingOutputs(output_weights, output_curves, output_plot),
            device=device,
        )


def _check_labels(
    labels: Artifact[ClusterLabels] | None, images: Artifact[ImageRecord], proposals: Artifact[Proposals],
    settings: CimTrainingSettings,
) -> None:  # fmt: skip
    if (labels is None) != (settings.pseudo_labels == "none"):
        given = "no cluster labels are" if labels is None else f"{labels.path} is"
        raise ValueError(f"pseudo_labels is {settings.pseudo_labels!r}, but {given} given; change one of the two")
    if labels is None:
        return
    check_classes(images, labels, remedy="remake the labels")
    made_from = labels.provenance["inputs"]["proposals"]["fingerprint"]
    if made_from != proposals.fingerprint:
        raise ValueError(
            f"{labels.path} labels other proposals ({made_from}) than those of {proposals.path} "
            f"({proposals.fingerprint}); remake the labels"
        )


if __name__ == "__main__":
    step.run(train_cim)
