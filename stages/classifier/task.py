"""Training of a classifier as a task: which images a pass sees, and how they are changed."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as colour

from stages.classifier.network import Classifier, tag_loss
from stages.classifier.settings import AugmentationSettings, ClassifierTrainingSettings
from stages.core.artifacts.images import ImageRecord, training_images
from stages.core.artifacts.storage import Artifact
from stages.core.images.loading import load_rgb, normalise
from stages.core.training.order import EpochOrder
from stages.ops.resize import flip, resize_as


class Batch(NamedTuple):
    """Normalised images (B, 3, H, W) float32 and their tags (B, C) bool."""

    images: Tensor
    tags: Tensor


class ClassifierTask:
    """Trains a `Classifier` on the images of a split that say something, in another random order each epoch.

    Passes go on from one epoch to the next without a gap. The order depends on the seed alone.
    """

    def __init__(
        self,
        network: Classifier,
        *,
        images: Artifact[ImageRecord],
        settings: ClassifierTrainingSettings,
        left_out: Collection[int] = (),
    ) -> None:
        """`left_out` are positions of images that are not trained on, whatever their tags."""
        self.network, self.images, self.settings = network, images, settings
        excluded = set(left_out)
        self.usable = [i for i in training_images(images) if i not in excluded]
        self.order = EpochOrder(len(self.usable), seed=settings.seed)

    def batch(self, step: int, micro: int, generator: np.random.Generator) -> Batch:
        """The images of forward pass `micro` of update `step`."""
        size = self.settings.batch
        first = (step * self.settings.training.accumulate + micro) * size
        chosen = [self.images[self.position(number)] for number in range(first, first + size)]
        root, how = self.images.header["root"], self.settings.augmentation
        images = [normalise(augment(load_rgb(image, root), how, generator)) for image in chosen]
        tags = np.stack([image.tags for image in chosen])
        return Batch(torch.from_numpy(np.stack(images)), torch.from_numpy(tags))

    def losses(self, batch: Batch, generator: np.random.Generator) -> dict[str, Tensor]:
        """The only term, `tags`."""
        return {"tags": tag_loss(self.network(batch.images).scores, batch.tags)}

    def position(self, number: int) -> int:
        """Position among the images of the sample `number`, counted over the whole training."""
        return self.usable[self.order(number)]


def augment(rgb: np.ndarray, settings: AugmentationSettings, generator: np.random.Generator) -> np.ndarray:
    """uint8 (H, W, 3) to (side, side, 3): squash, flip, colour, crop, in the order of the official BESTIE."""
    rgb = resize_as(rgb, settings.input_size, settings.input_size, interpolation=settings.interpolation)
    if generator.random() < settings.flip:
        rgb = flip(rgb)
    rgb = jitter(rgb, settings, generator)
    if settings.crop_size is None:
        return rgb
    y, x = generator.integers(settings.input_size - settings.crop_size + 1, size=2)
    return rgb[y : y + settings.crop_size, x : x + settings.crop_size]


def jitter(rgb: np.ndarray, settings: AugmentationSettings, generator: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue of uint8 (H, W, 3) by random amounts in a random order."""
    changes = [
        (colour.adjust_brightness, 1.0, settings.brightness),
        (colour.adjust_contrast, 1.0, settings.contrast),
        (colour.adjust_saturation, 1.0, settings.saturation),
        (colour.adjust_hue, 0.0, settings.hue),
    ]
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    for i in generator.permutation(len(changes)):
        change, middle, strength = changes[i]
        amount = generator.uniform(middle - strength, middle + strength)
        if strength:
            tensor = change(tensor, amount)
    return np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())
