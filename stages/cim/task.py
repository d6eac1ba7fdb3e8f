"""CIM's training task: sampling, augmentation, losses."""

import logging
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.cim.inputs import RegionInputs, check_size, scaled_image
from stages.cim.losses import Labels
from stages.cim.mining import Overlaps
from stages.cim.network import CimNetwork
from stages.cim.objective import weighted_losses
from stages.cim.settings import CimTrainingSettings
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.images import ImageRecord, training_images
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import Artifact
from stages.core.images.loading import load_rgb
from stages.core.training.memory import Memory
from stages.core.training.order import EpochOrder

log = logging.getLogger(__name__)
STORED = torch.bfloat16  # of kept features: the range of float32, so nothing overflows


class Batch(NamedTuple):
    """One image and N of its proposals.

    Attributes:
        inputs: (1, 3, H, W) float32, or what the backbone's frozen part makes of it, 16 bit.
        boxes: (N, 4) float32, (x0, y0, x1, y1) in pixels of the scaled image.
        crops: (N, s, s) bool.
        membership, atom_sizes: (N, A) bool and (A,) int64, the proposals in atom form.
        tags: (C,) bool.
        clusters, cluster_classes: (N,) int64, or None without pseudo labels.
    """

    inputs: Tensor
    boxes: Tensor
    crops: Tensor
    membership: Tensor
    atom_sizes: Tensor
    tags: Tensor
    clusters: Tensor | None
    cluster_classes: Tensor | None


class _Candidates(NamedTuple):
    """An image's proposals as they are kept: arrays only, membership packed."""

    boxes: np.ndarray
    crops: np.ndarray
    packed: np.ndarray
    atom_sizes: np.ndarray


class CimTask:
    """Trains a `CimNetwork` on images that have tags, or are known to show none of the classes, and have proposals.

    Entries are images, each as it is and (with `flip`) mirrored. They are passed in a random order, another one each
    epoch; passes go on from one epoch to the next. The order depends on the seed alone, all else on
    the generators given.
    """

    def __init__(
        self, network: CimNetwork, *, images: Artifact[ImageRecord], proposals: Artifact[Proposals],
        labels: Artifact[ClusterLabels] | None, settings: CimTrainingSettings,
    ) -> None:  # fmt: skip
        self.network, self.backbone = network, network.backbone
        self.images, self.proposals, self.labels = images, proposals, labels
        self.settings = settings
        self.from_prefix = settings.data.cache_features and self.backbone.can_split
        self.memory = Memory(settings.data.memory_gb)
        self.usable = usable_images(images, proposals)
        self.copies = 2 if settings.data.flip else 1
        self.order = EpochOrder(self.copies * len(self.usable), seed=settings.seed)

    def batch(self, step: int, micro: int, generator: np.random.Generator) -> Batch:
        """The image of forward pass `micro` of update `step`."""
        data = self.settings.data
        i, flip = self.entry(step * self.settings.training.accumulate + micro)
        side = data.longer_sides[generator.integers(len(data.longer_sides))]
        image = self.images.ids[i]
        inputs = self._inputs(i, flip=flip, side=side)
        candidates = self.memory.get((i, "proposals"), lambda: self._candidates(image))
        chosen = _choose(len(candidates.boxes), data.max_proposals, generator)
        width = int(self.images.field(i, "width"))
        regions = RegionInputs(candidates.boxes[chosen], candidates.crops[chosen], width)
        if flip:
            regions = regions.flip(self.settings.inputs)
        scale = side / max(width, int(self.images.field(i, "height")))
        atoms = len(candidates.atom_sizes)
        labels = None if self.labels is None else self.labels.find(image)
        return Batch(
            inputs=inputs,
            boxes=torch.from_numpy(regions.boxes * np.float32(scale)),
            crops=torch.from_numpy(np.ascontiguousarray(regions.crops)),
            membership=torch.from_numpy(np.unpackbits(candidates.packed[chosen], axis=1, count=atoms).view(bool)),
            atom_sizes=torch.from_numpy(candidates.atom_sizes),
            tags=torch.from_numpy(self.images.field(i, "tags")),
            clusters=None if labels is None else _of(labels.clusters, chosen),
            cluster_classes=None if labels is None else _of(labels.cluster_classes, chosen),
        )

    def losses(self, batch: Batch, generator: np.random.Generator) -> dict[str, Tensor]:
        """The weighted terms of one image."""
        settings = self.settings
        scores = self.network(batch.inputs.float(), batch.boxes, batch.crops, from_prefix=self.from_prefix)
        half = settings.mining.half_precision_maps
        return weighted_losses(
            scores,
            tags=batch.tags,
            labels=None if batch.clusters is None else Labels(batch.clusters, batch.cluster_classes),
            overlaps=Overlaps(batch.membership, batch.atom_sizes, half_precision=half),
            generator=generator,
            settings=settings,
        )

    def entry(self, number: int) -> tuple[int, bool]:
        """Position among the images, and whether mirrored, of the pass `number` counted over the whole training."""
        i, copy = divmod(self.order(number), self.copies)
        return self.usable[i], copy == 1

    def _inputs(self, i: int, *, flip: bool, side: int) -> Tensor:
        if not self.from_prefix:
            return self._image(i, flip=flip, side=side)
        return self.memory.get((i, flip, side), lambda: (self._prefix(i, flip=flip, side=side),))[0]

    def _prefix(self, i: int, *, flip: bool, side: int) -> Tensor:
        device = next(self.backbone.parameters()).device
        return self.backbone.frozen_prefix(self._image(i, flip=flip, side=side).to(device)).to(STORED).cpu()

    def _image(self, i: int, *, flip: bool, side: int) -> Tensor:
        rgb = load_rgb(self.images[i], self.images.header["root"])
        return torch.from_numpy(scaled_image(rgb, side, flip=flip, settings=self.settings.inputs))

    def _candidates(self, image: str) -> _Candidates:
        regions = self.proposals.find(image).regions
        check_size(self.images, self.proposals, image, regions.shape)
        data = self.settings.data
        if data.proposal_choice == "best" and data.max_proposals is not None:
            regions = regions.select(slice(data.max_proposals))
        size = self.settings.network.crop_size
        inputs = RegionInputs.of(regions, crop_size=size, settings=self.settings.inputs)
        return _Candidates(inputs.boxes, inputs.crops, np.packbits(regions.membership, axis=1), regions.sizes)


def usable_images(images: Artifact[ImageRecord], proposals: Artifact[Proposals]) -> list[int]:
    """Positions of the images that say something and have a proposal; those without one are listed in the log.

    Raises ValueError where no image with a tag is left.
    """
    evident = training_images(images)
    counts = [len(proposals.field(proposals.index(images.ids[i]), "scores")) for i in evident]
    usable = [i for i, count in zip(evident, counts, strict=True) if count]
    empty = [images.ids[i] for i, count in zip(evident, counts, strict=True) if not count]
    if empty:
        log.warning(
            "%d of %d images without proposals are not trained on: %s", len(empty), len(images), ", ".join(empty)
        )
    if not any(images.field(i, "tags").any() for i in usable):
        raise ValueError(
            f"{images.path}: none of {len(images)} images has both tags and proposals; nothing to train on"
        )
    return usable


def _choose(count: int, limit: int | None, generator: np.random.Generator) -> np.ndarray:
    """Ascending indices of the proposals that stay; where there are no more than `limit`, all."""
    if limit is None or count <= limit:
        return np.arange(count)
    return np.sort(generator.choice(count, limit, replace=False))


def _of(values: np.ndarray, chosen: np.ndarray) -> Tensor:
    return torch.from_numpy(values[chosen].astype(np.int64))
