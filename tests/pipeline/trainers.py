"""Every trainer at its smallest, as one process or as several: `torchrun ... -m -- tests.pipeline.trainers IN OUT`.

`prepare` writes what they read, `train_all` trains each once below OUT, with batch norms that learn where a trainer has
them. It also does what only several processes can: set a checkpoint aside, and stop on a signal that one of them gets.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.bestie.train_bestie import train_bestie
from stages.bestie.transfer_semantics import transfer_semantics
from stages.cim.label_clusters import label_clusters
from stages.cim.settings import CimSettings
from stages.cim.train_cim import train_cim
from stages.classifier.train_classifier import train_classifier
from stages.core.training import loop
from stages.core.training.checkpoints import save_checkpoint
from stages.core.workflow.signals import StoppedBySignal
from stages.label_penet.pretrain_module import pretrain_module
from stages.label_penet.settings import MODULES, LabelPenetSettings
from stages.label_penet.train_label_penet import train_label_penet
from stages.mask_rcnn.make_pseudo_masks import make_pseudo_masks
from stages.mask_rcnn.settings import MaskRcnnSettings
from stages.mask_rcnn.train_mask_rcnn import train_mask_rcnn
from stages.project.overlays import merged
from stages.semantics.settings import NetworkSource
from stages.semantics.train_semantics import train_semantics
from tests.bestie import toy as bestie
from tests.cim import conftest as cim
from tests.classifier import test_classifier_steps as classifier
from tests.core import test_core_training as core
from tests.label_penet import conftest as label_penet
from tests.mask_rcnn import conftest as mask_rcnn
from tests.semantics import conftest as semantics

# Without Adam, which makes a whole step of what is rounding noise in a gradient of zero.
TRAINING = {
    "steps": 3, "accumulate": 4, "optimizer": "sgd", "learning_rate": 0.01, "betas": [0.9, 0.999], "curve_steps": 2,
    "warmup_steps": 0,
}  # fmt: skip
LEARNING_NORMS = {"train": {"backbone": {"norm": "train"}, "training": TRAINING}}
RANK = int(os.environ.get("RANK", "0"))
OF_CORE = {"steps": 9, "accumulate": 4, "ema_decay": 0.9, "curve_steps": 4}


def prepare(folder: Path) -> None:
    """Write the inputs of all trainers."""
    of = {name: folder / name for name in ("classifier", "semantics", "cim", "bestie", "label_penet", "mask_rcnn")}
    for path in of.values():
        path.mkdir(parents=True)
    classifier.write_images(of["classifier"] / "images.h5", untagged=2)
    semantics.Toy(of["semantics"])
    toy = cim.Toy(of["cim"])
    settings = CimSettings.model_validate(cim.OFFICIAL).agpl
    label_clusters(
        images=toy.images, proposals=toy.proposals, cues=toy.cues, output=of["cim"] / "labels.h5", settings=settings
    )
    rectangles = bestie.Toy(of["bestie"])
    transfer_semantics(
        images=rectangles.images, semantics=rectangles.semantics, cues=rectangles.cues,
        output=of["bestie"] / "pseudo.h5", run="bestie", settings=bestie.tiny().transfer,
    )  # fmt: skip
    predicted = mask_rcnn.Toy(of["mask_rcnn"])
    make_pseudo_masks(
        images=predicted.images, instances=predicted.instances, marks=None, output=of["mask_rcnn"] / "masks.h5",
        settings=MaskRcnnSettings.model_validate(mask_rcnn.TINY).pseudo_masks,
    )  # fmt: skip
    bright = label_penet.Toy(of["label_penet"])
    modules = of_label_penet({"steps": 2})
    for before, module in zip((None, *MODULES), MODULES, strict=False):
        pretrain(modules, module, of["label_penet"], of["label_penet"] / module, before)
        if module != MODULES[-1]:
            weights = of["label_penet"] / module / "weights.safetensors"
            label_penet.propagate(bright, modules, module, weights, of["label_penet"] / f"{module}.h5")


def train_all(inputs: Path, output: Path) -> None:
    """Train every trainer once; its files lie in a folder of its name below `output`."""
    train_classifier(
        images=inputs / "classifier" / "images.h5", device="cpu", **outputs_in(output / "classifier"),
        settings=classifier.settings(**merged(classifier.TRAIN, {"training": TRAINING})),
    )  # fmt: skip
    train_semantics(
        images=inputs / "semantics" / "images.h5", labels=inputs / "semantics" / "labels.h5", backbone_weights=None,
        start=None, device="cpu", **outputs_in(output / "semantics"),
        settings=NetworkSource.model_validate(merged(semantics.TINY, LEARNING_NORMS)).train,
    )  # fmt: skip
    of = inputs / "cim"
    train_cim(
        images=of / "images.h5", proposals=of / "proposals.h5", cluster_labels=of / "labels.h5",
        backbone_weights=None, device="cpu", **outputs_in(output / "cim"),
        settings=CimSettings.model_validate(merged(cim.OFFICIAL, {"train": {"training": {"accumulate": 4}}})).train,
    )  # fmt: skip
    train_bestie(
        images=inputs / "bestie" / "images.h5", pseudo_instances=inputs / "bestie" / "pseudo.h5",
        backbone_weights=None, device="cpu", output_snapshots=output / "bestie" / "snapshots.safetensors",
        settings=bestie.tiny(**merged(LEARNING_NORMS, {"train": {"snapshots": [1]}})).train,
        **outputs_in(output / "bestie"),
    )  # fmt: skip
    train_mask_rcnn(
        images=inputs / "mask_rcnn" / "images.h5", pseudo_masks=inputs / "mask_rcnn" / "masks.h5",
        backbone_weights=None, device="cpu", **outputs_in(output / "mask_rcnn"),
        settings=MaskRcnnSettings.model_validate(merged(mask_rcnn.TINY, {"train": {"training": TRAINING}})).train,
    )  # fmt: skip
    of, settings = inputs / "label_penet", of_label_penet(TRAINING)
    for before, module in zip((None, *MODULES), MODULES, strict=False):
        pretrain(settings, module, of, output / f"label_penet_{module}", before)
    train_label_penet(
        images=of / "images.h5", proposals=of / "proposals.h5",
        modules=[of / module / "weights.safetensors" for module in MODULES], device="cpu",
        output_snapshots=output / "label_penet" / "snapshots.safetensors", settings=settings.finetuning,
        **outputs_in(output / "label_penet"),
    )  # fmt: skip
    core.fit(output / "core", **OF_CORE)


def of_label_penet(training: dict[str, Any]) -> LabelPenetSettings:
    """The tiny settings, all trainings changed."""
    changes = {
        "train": {module: {"training": training} for module in MODULES},
        "finetune": {"training": training, "snapshots": [1]},
    }
    return LabelPenetSettings.model_validate(merged(label_penet.TINY, changes))


def pretrain(settings: LabelPenetSettings, module: str, of: Path, output: Path, before: str | None) -> None:
    """Train one module of Label-PEnet from the labels of the one before."""
    pretrain_module(
        images=of / "images.h5", proposals=of / "proposals.h5" if before is None else None,
        labels=None if before is None else of / f"{before}.h5", backbone_weights=None, device="cpu",
        settings=settings.train.of(module), **outputs_in(output),
    )  # fmt: skip


def outputs_in(folder: Path) -> dict[str, Path]:
    """The files that every trainer writes."""
    names = {"weights": "weights.safetensors", "curves": "curves.json", "plot": "curves.png"}
    return {f"output_{key}": folder / name for key, name in names.items()}


def set_aside(output: Path) -> None:
    """A checkpoint of other settings lies there. The first process is slow to look; no other may look before it has."""
    folder = output / "aside" / "checkpoint"
    if RANK == 0:
        save_checkpoint(folder, {"step": 1}, identity="other")
    torch.distributed.barrier()
    find = loop.find_checkpoint

    def slow(place: Path, *, identity: str) -> Any:
        if RANK == 0:
            time.sleep(1)
        else:
            assert not (place / "checkpoint.pt").exists(), "looked before the first process had set it aside"
        return find(place, identity=identity)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "find_checkpoint", slow)
        core.fit(output / "aside", **OF_CORE)


def stop_and_go_on(output: Path) -> None:
    """The last process gets SIGTERM in update 3: all end after it, and a second start goes on."""

    last = int(os.environ["WORLD_SIZE"]) - 1

    class Stopped(core.Toy):
        def batch(self, step: int, micro: int, generator: Any) -> Any:
            if step == 3 and last == RANK:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().batch(step, micro, generator)

    with pytest.raises(StoppedBySignal, match="SIGTERM came; a checkpoint of update 4 of 9 is in"):
        core.fit(output / "stopped", Stopped(), **OF_CORE)
    task = core.Toy()
    core.fit(output / "stopped", task, **OF_CORE)
    assert task.steps[0] == (4, RANK)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train_all(Path(sys.argv[1]), Path(sys.argv[2]))
    set_aside(Path(sys.argv[2]))
    stop_and_go_on(Path(sys.argv[2]))
