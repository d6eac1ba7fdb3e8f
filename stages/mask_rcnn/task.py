"""Training of Mask R-CNN as a task: which images a pass sees, how, and what it is asked for."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.storage import Artifact
from stages.core.images.loading import load_rgb
from stages.core.training.order import EpochOrder
from stages.mask_rcnn.network import MaskRcnn
from stages.mask_rcnn.samples import scaled_image, scaled_size, scaled_target
from stages.mask_rcnn.settings import MaskRcnnTrainingSettings


class Batch(NamedTuple):
    """Images (3, H, W) float32 of any sizes, and the target of each; see `MaskRcnn.forward`."""

    images: list[Tensor]
    targets: list[dict[str, Tensor]]


class MaskRcnnTask:
    """Trains a `MaskRcnn` on the images that the pseudo masks list.

    They are passed in a random order, another one each epoch; batches go on from one epoch to the next. The order
    depends on the seed alone, all else on the generator given and, in the losses, on torch's global one.
    """

    def __init__(
        self, network: MaskRcnn, *, images: Artifact[ImageRecord], pseudo_masks: Artifact[Instances],
        settings: MaskRcnnTrainingSettings,
    ) -> None:  # fmt: skip
        self.network = network
        self.images, self.pseudo_masks, self.settings = images, pseudo_masks, settings
        self.order = EpochOrder(len(pseudo_masks), seed=settings.seed)
        losses = settings.losses
        self.weights = {
            "loss_objectness": losses.objectness,
            "loss_rpn_box_reg": losses.rpn_box,
            "loss_classifier": losses.classifier,
            "loss_box_reg": losses.box,
            "loss_mask": losses.mask,
        }

    def batch(self, step: int, micro: int, generator: np.random.Generator) -> Batch:
        """The images of forward pass `micro` of update `step`."""
        data = self.settings.data
        first = (step * self.settings.training.accumulate + micro) * data.batch
        samples = [self._sample(self.entry(first + place), generator) for place in range(data.batch)]
        return Batch(*map(list, zip(*samples, strict=True)))

    def losses(self, batch: Batch, generator: np.random.Generator) -> dict[str, Tensor]:
        """The weighted terms of one batch."""
        losses = self.network(batch.images, batch.targets)
        return {name: losses[name] * weight for name, weight in self.weights.items()}

    def entry(self, number: int) -> int:
        """Position among the pseudo masks of the image `number`, counted over the whole training."""
        return self.order(number)

    def _sample(self, i: int, generator: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        data = self.settings.data
        record = self.pseudo_masks[i]
        rgb = load_rgb(self.images.find(record.image), self.images.header["root"])
        check_size(record, rgb, self.pseudo_masks)
        side = data.shorter_sides[generator.integers(len(data.shorter_sides))]
        flip = bool(generator.random() < data.flip)
        size = scaled_size(*rgb.shape[:2], shorter_side=side, longest_side=data.longest_side)
        weighted = self.settings.loss_weights == "scores"
        return scaled_image(rgb, size, flip=flip), scaled_target(record, size, flip=flip, weighted=weighted)


def check_size(record: Instances, rgb: np.ndarray, pseudo_masks: Artifact[Instances]) -> None:
    """Raise ValueError unless the pseudo masks have the size of their image."""
    if record.atoms.shape != rgb.shape[:2]:
        raise ValueError(
            f"{pseudo_masks.path}: {record.image!r} has masks of {record.atoms.shape} (height, width), the image "
            f"is {rgb.shape[:2]}; remake the pseudo masks from this list of images"
        )
