"""Training of Label-PEnet as tasks (section 3.3): cascaded pre-training of one module, and mixed fine-tuning of all."""

import functools
import logging
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.core.artifacts.images import ImageRecord, all_tags, training_images
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import Artifact
from stages.core.images.loading import load_rgb
from stages.core.training.memory import Memory
from stages.core.training.order import EpochOrder
from stages.label_penet.boxes import Objects
from stages.label_penet.cascade import Cascade
from stages.label_penet.curriculum import MixedBatch, mixed_losses
from stages.label_penet.labelling import first
from stages.label_penet.network import Image, padded_size
from stages.label_penet.passes import classification_losses, detection_losses
from stages.label_penet.samples import scaled_boxes, scaled_image, scaled_objects, scaled_regions, scaled_size
from stages.label_penet.settings import MODULES, FinetuningSettings, ModuleSettings
from stages.ops import resize as resizing

log = logging.getLogger(__name__)
STORED = torch.bfloat16  # of kept features


class Batch(NamedTuple):
    """One image, with the proposals and tags that the first module learns from, or the objects of the others.

    Attributes:
        image: its inputs, or what the frozen backbone makes of it, 16 bit.
        boxes: (R, 4) float32 proposals.
        tags: (C,) bool.
        objects: none for the first module.
    """

    image: Image
    boxes: Tensor
    tags: Tensor
    objects: Objects | None


class ModuleTask:
    """Trains one module: the first on tags and proposals, the others on their predecessor's objects.

    Images that show none of the classes have no object: all of them is background. Images are passed in a random order,
    another one each epoch. The order depends on the seed alone, all else on the generator given and, in the losses, on
    torch's global one.
    """

    def __init__(
        self, network: Cascade, *, images: Artifact[ImageRecord], proposals: Artifact[Proposals] | None,
        labels: Artifact[ModuleLabels] | None, settings: ModuleSettings,
    ) -> None:  # fmt: skip
        self.network, self.backbone = network, network.backbone
        self.images, self.proposals, self.labels, self.settings = images, proposals, labels, settings
        self.from_prefix = settings.data.cache_features and network.backbone.can_split
        self.memory = Memory(settings.data.memory_gb)
        # Without a class, equation 2 has the loss 0.
        negatives = settings.module != "classification" or settings.losses.mil != "paper"
        self.usable = usable_images(images, proposals, labels, negatives=negatives)
        self.order = EpochOrder(len(self.usable), seed=settings.seed)

    def batch(self, step: int, micro: int, generator: np.random.Generator) -> Batch:
        """The image of forward pass `micro` of update `step`."""
        data = self.settings.data
        i = self.usable[self.order(step * self.settings.training.accumulate + micro)]
        record = self.images[i]
        shape = int(record.height), int(record.width)
        side = data.shorter_sides[generator.integers(len(data.shorter_sides))]
        flip = bool(generator.random() < data.flip)
        size = scaled_size(*shape, shorter_side=side, longest_side=data.longest_side)
        boxes, objects = np.zeros((0, 4), np.float32), None
        if self.proposals is not None:
            boxes = self.proposals.find(record.image).regions.boxes()[: data.max_proposals]
        if self.labels is not None:
            weighted, masks = self.settings.module != "segmentation", self.settings.module != "detection"
            labels = self.labels.find(record.image)
            objects = scaled_objects(labels, size, flip=flip, weighted=weighted, masks=masks)
        return Batch(
            image=self._image(record, size, flip=flip),
            boxes=scaled_boxes(boxes, shape, size, flip=flip),
            tags=torch.from_numpy(record.tags),
            objects=objects,
        )

    def losses(self, batch: Batch, generator: np.random.Generator) -> dict[str, Tensor]:
        """The module's terms."""
        return self.network(batch, module_losses, from_prefix=self.from_prefix)

    def _image(self, record: ImageRecord, size: tuple[int, int], *, flip: bool) -> Image:
        def seen() -> Image:
            return scaled_image(load_rgb(record, self.images.header["root"]), size, flip=flip)

        if not self.from_prefix:
            return seen()
        kept = self.memory.get((record.image, size, flip), lambda: (self._prefix(seen()),))
        return Image(kept[0], size, padded_size(*size))

    def _prefix(self, image: Image) -> Tensor:
        device = next(self.backbone.parameters()).device
        return self.backbone.frozen_prefix(image.inputs.to(device)).to(STORED).cpu()


def module_losses(network: Cascade, shared: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The terms of the modules that the network has, from the shared features (1, D, h, w) of an image."""
    terms: dict[str, Tensor] = {}
    for name, module in network.stages.items():
        if name == "classification":
            terms |= classification_losses(module, shared, batch.boxes, batch.tags, network.settings)
            continue
        assert batch.objects is not None  # modules behind the first have a predecessor
        size, padded = batch.image.size, batch.image.padded
        terms |= detection_losses(module, shared, batch.objects, size=size, padded=padded, settings=network.settings)
    return terms


class MixedTask:
    """Recurrent mixed fine-tuning of all modules: an update goes forward, the next one validates backward on the same.

    Images are passed in a random order, another one each epoch, each twice in a row, once per direction.
    """

    def __init__(
        self, network: Cascade, *, images: Artifact[ImageRecord], proposals: Artifact[Proposals],
        settings: FinetuningSettings,
    ) -> None:  # fmt: skip
        self.network, self.images, self.proposals, self.settings = network, images, proposals, settings
        self.usable = usable_images(images, proposals, None, negatives=True)
        self.order = EpochOrder(len(self.usable), seed=settings.seed)
        self._with_regions = any(settings.labels.of(name).calibration.proposal_overlap is not None for name in MODULES)
        self._losses = functools.partial(mixed_losses, labels=settings.labels, overlap=settings.overlap)

    def batch(self, step: int, micro: int, generator: np.random.Generator) -> MixedBatch:
        """The image of forward pass `micro` of update `step`."""
        data = self.settings.data
        i = self.usable[self.order(step // 2 * self.settings.training.accumulate + micro)]
        record = self.images[i]
        shape = int(record.height), int(record.width)
        side = data.shorter_sides[generator.integers(len(data.shorter_sides))]
        flip = bool(generator.random() < data.flip)
        size = scaled_size(*shape, shorter_side=side, longest_side=data.longest_side)
        rgb = load_rgb(record, self.images.header["root"])
        seen = resizing.resize(resizing.flip(rgb) if flip else rgb, *size)
        proposals = self.proposals.find(record.image)
        boxes, prior = first(proposals, data.max_proposals)
        regions = None
        if self._with_regions:
            regions = scaled_regions(proposals.regions.select(slice(data.max_proposals)), size, flip=flip)
        return MixedBatch(
            image=scaled_image(seen, size, flip=False),
            rgb=torch.from_numpy(np.ascontiguousarray(seen)),
            boxes=scaled_boxes(boxes, shape, size, flip=flip),
            regions=regions,
            prior=None if prior is None else torch.from_numpy(prior),
            tags=torch.from_numpy(record.tags),
            forward=step % 2 == 0,
        )

    def losses(self, batch: MixedBatch, generator: np.random.Generator) -> dict[str, Tensor]:
        """The terms of all modules in one direction."""
        return self.network(batch, self._losses)


def usable_images(
    images: Artifact[ImageRecord], proposals: Artifact[Proposals] | None, labels: Artifact[ModuleLabels] | None,
    *, negatives: bool,
) -> list[int]:  # fmt: skip
    """Positions of the images that have something to learn from; the others are counted in the log.

    Tagged images need proposals, or objects in `labels`; those that show none of the classes teach what is background
    where `negatives` is set.
    Raises ValueError where no tagged image is left.
    """
    without = []
    usable = []
    for i in training_images(images):
        image, tagged = images.ids[i], images.field(i, "tags").any()
        seen = proposals is None or len(proposals.field(proposals.index(image), "scores"))
        taught = negatives if not tagged else labels is None or len(labels.field(labels.index(image), "classes"))
        (usable if seen and taught else without).append(i)
    tags = all_tags(images).any(1)
    what = "proposals" if labels is None else f"objects in {labels.path}"
    if not tags[usable].any():
        raise ValueError(f"{images.path}: none of {tags.sum()} tagged images has {what}; nothing to train on")
    if tags[without].any():
        log.warning("%d of %d tagged images have no %s and are not trained on", tags[without].sum(), tags.sum(), what)
    if not negatives and not tags[usable + without].all():
        log.warning(
            "%d images show none of the classes and are left out: losses.mil is paper (equation 2), which learns "
            "nothing from them; wsddn and binary do",
            (~tags[usable + without]).sum(),
        )
    return usable
