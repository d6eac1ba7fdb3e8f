"""Each trainer as its step builds it, with the settings of a published preset, on random images.

Backbones that a preset names for its paper are "published"; where a trainer takes another one, the rest of the settings
stays as it is, and it is "exchanged". All weights are random: they change no time and no memory.
"""

import dataclasses
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.gpu.data import Data
from stages.bestie.network import BestieNetwork
from stages.bestie.task import BestieTask
from stages.cim.network import CimNetwork
from stages.cim.task import CimTask
from stages.classifier.network import Classifier
from stages.classifier.task import ClassifierTask
from stages.core.networks.backbones import build_backbone
from stages.core.training.loop import Task
from stages.label_penet.cascade import Cascade
from stages.label_penet.settings import MODULES
from stages.label_penet.task import MixedTask, ModuleTask
from stages.mask_rcnn.network import MaskRcnn
from stages.mask_rcnn.task import MaskRcnnTask
from stages.project.overlays import merged
from stages.project.project import ProjectBase, load_files
from stages.semantics.network import SegmentationNetwork
from stages.semantics.task import SegmentationTask

ROOT = Path(__file__).parents[2]
RESNET, VGG, HRNET = "resnet50", "vgg16", "hrnet_w48"
BACKBONES = (RESNET, VGG, HRNET)
VOC, BESTIE = ("voc2012",), ("voc2012", "voc2012_bestie")
RELEASED = ("voc2012", "voc2012_released")
PENET = ("voc2012", "voc2012_label_penet")
PLAIN: dict[str, Any] = {  # of a backbone that is read at one stage
    RESNET: {"name": "resnet50.tv_in1k", "output_stride": 16, "stage": 4},
    VGG: {"name": "vgg16.tv_in1k", "output_stride": 8, "stage": 4},
    HRNET: {"name": "hrnet_w48.ms_in1k", "output_stride": 32, "stage": 3},
}
PYRAMID: dict[str, Any] = {  # of one that is read at several
    RESNET: {"name": "resnet50.tv_in1k", "stages": [1, 2, 3, 4]},
    VGG: {"name": "vgg16.tv_in1k", "stages": [1, 2, 3, 4]},
    HRNET: {"name": "hrnet_w48.ms_in1k", "stages": [1, 2, 3, 4]},
}


@dataclasses.dataclass(frozen=True)
class Trainer:
    """How a trainer's settings are found, and its task made of them.

    Attributes:
        published: presets over config.yaml by backbone.
        backbones: what an exchanged backbone is set to.
        settings: the step's section of the project.
        task: the network on random weights and its batches.
        backbone: path of the backbone's section in the settings.
        images: images of a forward pass.
        why_not: why a backbone is left out.
    """

    published: dict[str, tuple[str, ...]]
    settings: Callable[[ProjectBase, str], Any]
    task: Callable[[Any, Data], Task]
    backbones: dict[str, Any] = dataclasses.field(default_factory=dict)
    backbone: tuple[str, ...] = ("backbone",)
    images: Callable[[Any], int] = lambda settings: 1
    why_not: dict[str, str] = dataclasses.field(default_factory=dict)

    def settings_of(self, backbone: str, changes: dict[str, Any]) -> Any:
        """Settings of a backbone with random weights, and changes. Raises ValueError where they do not fit."""
        published = self.published.get(backbone)
        project = project_of(published or next(iter(self.published.values())))
        settings = self.settings(project, backbone if published else next(iter(self.published)))
        network = {"weights": "none"} | ({} if published else self.backbones[backbone])
        for key in reversed(self.backbone):
            network = {key: network}
        return changed(changed(settings, network), changes)


def changed(settings: Any, changes: dict[str, Any]) -> Any:
    """A section with some of its values replaced, checked."""
    return type(settings).model_validate(merged(settings.model_dump(mode="json"), changes))


@cache
def project_of(presets: tuple[str, ...]) -> ProjectBase:
    """config.yaml with presets over it; of their data set nothing is read."""
    before = os.environ.get("TAGMASK_DATA")
    os.environ["TAGMASK_DATA"] = "no_data"
    try:
        return load_files(ROOT / "config.yaml", *(ROOT / "presets" / f"{name}.yaml" for name in presets))
    finally:
        if before is None:
            del os.environ["TAGMASK_DATA"]
        else:
            os.environ["TAGMASK_DATA"] = before


def _classifier(settings: Any, data: Data) -> Task:
    network = Classifier(build_backbone(settings.backbone), class_count=data.class_count, settings=settings)
    return ClassifierTask(network, images=data["images"], settings=settings)


def _cim(settings: Any, data: Data) -> Task:
    network = CimNetwork(build_backbone(settings.backbone), class_count=data.class_count, settings=settings.network)
    labels = None if settings.pseudo_labels == "none" else data["cluster_labels"]
    return CimTask(network, images=data["images"], proposals=data["proposals"], labels=labels, settings=settings)


def _bestie(settings: Any, data: Data) -> Task:
    network = BestieNetwork(settings, class_count=data.class_count, classifier=None)
    return BestieTask(network, images=data["images"], pseudo=data["pseudo_instances"], settings=settings)


def _mask_rcnn(settings: Any, data: Data) -> Task:
    network = MaskRcnn(settings, class_count=data.class_count, classifier=None)
    return MaskRcnnTask(network, images=data["images"], pseudo_masks=data["pseudo_masks"], settings=settings)


def _semantics(settings: Any, data: Data) -> Task:
    network = SegmentationNetwork(
        build_backbone(settings.backbone), stage=settings.backbone.stage, class_count=data.class_count,
        settings=settings.head,
    )  # fmt: skip
    return SegmentationTask(network, images=data["images"], labels=data["semantics"], settings=settings)


def _label_penet(settings: Any, data: Data) -> Task:
    network = Cascade(
        settings.network, settings.losses, class_count=data.class_count, modules=list(MODULES), load=False
    )
    return MixedTask(network, images=data["images"], proposals=data["proposals"], settings=settings)


def _label_penet_module(settings: Any, data: Data) -> Task:
    network = Cascade(settings.network, settings.losses, class_count=data.class_count, modules=[settings.module])
    network.backbone.requires_grad_(False)
    return ModuleTask(network, images=data["images"], proposals=None, labels=data["module_labels"], settings=settings)


PENET_WHY = "the modules copy VGG-16's conv5; no paper names other settings"
TRAINERS = {
    "classifier": Trainer(
        published={RESNET: VOC, VGG: BESTIE},
        settings=lambda project, backbone: project.classifier["prm" if backbone == RESNET else "pam"].train,
        task=_classifier,
        backbones=PLAIN,
        images=lambda settings: settings.batch,
    ),
    "cim": Trainer(
        published={RESNET: VOC, VGG: (*RELEASED, "voc2012_vgg16"), HRNET: (*RELEASED, "voc2012_hrnet")},
        settings=lambda project, backbone: project.runs["cim"].settings.train,
        task=_cim,
    ),
    "bestie": Trainer(
        published={HRNET: BESTIE, RESNET: (*BESTIE, "voc2012_bestie_released", "voc2012_bestie_resnet50")},
        settings=lambda project, backbone: project.runs["bestie"].settings.train,
        task=_bestie,
        images=lambda settings: settings.data.batch,
        why_not={VGG: "BESTIE's networks are HRNet and Panoptic-DeepLab; no paper names decoders for VGG-16"},
    ),
    "label_penet": Trainer(
        published={VGG: PENET},
        settings=lambda project, backbone: project.runs["label_penet"].settings.finetuning,
        task=_label_penet,
        backbone=("network", "backbone"),
        why_not={RESNET: PENET_WHY, HRNET: PENET_WHY},
    ),
    "label_penet_segmentation": Trainer(
        published={VGG: PENET},
        settings=lambda project, backbone: project.runs["label_penet"].settings.train.of("segmentation"),
        task=_label_penet_module,
        backbone=("network", "backbone"),
        why_not={RESNET: PENET_WHY, HRNET: PENET_WHY},
    ),
    "mask_rcnn": Trainer(
        published={RESNET: VOC},
        settings=lambda project, backbone: project.runs["cim"].mask_rcnn.train,
        task=_mask_rcnn,
        backbones=PYRAMID,
        images=lambda settings: settings.data.batch,
    ),
    "semantics": Trainer(
        published={RESNET: VOC},
        settings=lambda project, backbone: project.semantics["cam"].train,
        task=_semantics,
        backbones=PLAIN,
        images=lambda settings: settings.data.batch,
    ),
}
