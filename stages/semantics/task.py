"""Training of a segmentation network as a task: which images a pass sees, how they are changed, and the loss."""

import logging
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.semantic_maps import UNCERTAIN, SemanticMaps
from stages.core.artifacts.storage import Artifact
from stages.core.images.loading import load_rgb, normalise
from stages.core.training.order import EpochOrder
from stages.ops.resize import flip, nearest, resize, scaled_size
from stages.semantics.maps import listed
from stages.semantics.network import SegmentationNetwork
from stages.semantics.settings import SegmentationDataSettings, SegmentationTrainingSettings

log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Normalised crops (B, 3, S, S) float32 and their labels (B, S, S) int64; see `SemanticMaps`."""

    images: Tensor
    labels: Tensor


class SegmentationTask:
    """Trains a `SegmentationNetwork` on the images with labels, in another random order each epoch.

    Passes go on from one epoch to the next without a gap. The order depends on the seed alone.
    """

    def __init__(
        self, network: SegmentationNetwork, *, images: Artifact[ImageRecord], labels: Artifact[SemanticMaps],
        settings: SegmentationTrainingSettings,
    ) -> None:  # fmt: skip
        self.network, self.images, self.labels, self.settings = network, images, labels, settings
        self.usable = labelled_images(labels, images)
        self.order = EpochOrder(len(self.usable), seed=settings.seed)

    def batch(self, step: int, micro: int, generator: np.random.Generator) -> Batch:
        """The images of forward pass `micro` of update `step`."""
        size = self.settings.data.batch
        first = (step * self.settings.training.accumulate + micro) * size
        samples = [self._sample(self.image(number), generator) for number in range(first, first + size)]
        return Batch(*(torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True)))

    def losses(self, batch: Batch, generator: np.random.Generator) -> dict[str, Tensor]:
        """The only term, `labels`."""
        return {"labels": label_loss(self.network(batch.images), batch.labels)}

    def image(self, number: int) -> str:
        """Id of the image `number`, counted over the whole training."""
        return self.usable[self.order(number)]

    def _sample(self, image: str, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        rgb = load_rgb(self.images.find(image), self.images.header["root"])
        labels = self.labels.find(image).labels
        if labels.shape != rgb.shape[:2]:
            raise ValueError(
                f"{self.labels.path}: the map of {image!r} is {labels.shape} (height, width), the image is "
                f"{rgb.shape[:2]}; remake the maps from this list of images"
            )
        return sample(rgb, labels, self.settings.data, generator)


def labelled_images(labels: Artifact[SemanticMaps], images: Artifact[ImageRecord]) -> list[str]:
    """Ids of the images with a pixel that is not uncertain; the others are counted in the log.

    Raises ValueError where there is none.
    """
    usable = [image for image in images.ids if (labels.find(image).labels != UNCERTAIN).any()]
    if not usable:
        raise ValueError(
            f"all pixels of the {len(images)} images of {labels.path} are uncertain; tag images, or change thresholds"
        )
    left_out = sorted(set(images.ids) - set(usable))
    if left_out:
        log.warning("%d images are uncertain everywhere and not trained on: %s", len(left_out), listed(left_out))
    return usable


def sample(
    rgb: np.ndarray, labels: np.ndarray, settings: SegmentationDataSettings, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random crop at a random scale: normalised (3, S, S) float32, padded with 0; labels (S, S), padded with 255."""
    height, width = rgb.shape[:2]
    scale = settings.scales[generator.integers(len(settings.scales))]
    longest = round((settings.longer_side or max(height, width)) * scale)
    size = scaled_size(height, width, max(1, longest))
    rgb, labels = resize(rgb, *size), nearest(labels, *size)
    y, x = (int(generator.integers(max(0, side - settings.crop) + 1)) for side in size)
    rgb, labels = (part[y : y + settings.crop, x : x + settings.crop] for part in (rgb, labels))
    if generator.random() < settings.flip:
        rgb, labels = flip(rgb), flip(labels)
    rgb = jittered(rgb, settings, generator)
    rest = [(0, settings.crop - side) for side in labels.shape]
    padded = np.pad(normalise(rgb), [(0, 0), *rest])
    return padded, np.pad(labels, rest, constant_values=UNCERTAIN).astype(np.int64)


def jittered(rgb: np.ndarray, settings: SegmentationDataSettings, generator: np.random.Generator) -> np.ndarray:
    """uint8 (H, W, 3) with its brightness, then its contrast about the mean, times random factors."""
    factors = generator.uniform(-1, 1, 2) * [settings.brightness, settings.contrast] + 1
    if (factors == 1).all():
        return rgb
    brighter = rgb.astype(np.float32) * np.float32(factors[0])
    mean = brighter.mean()
    return np.clip((brighter - mean) * np.float32(factors[1]) + mean, 0, 255).astype(np.uint8)


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy (a scalar): mean over the pixels that are not uncertain, 0 where all are.

    Args:
        logits: (B, C + 1, H, W), background first.
        labels: (B, H, W) int64.
    """
    total = functional.cross_entropy(logits, labels, ignore_index=UNCERTAIN, reduction="sum")
    return total / (labels != UNCERTAIN).sum().clamp(min=1)
