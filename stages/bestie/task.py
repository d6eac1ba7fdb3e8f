"""BESTIE's training task: sampling, augmentation, losses."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.bestie.augmentation import View, augmented
from stages.bestie.components import Components, batched
from stages.bestie.inputs import check_size, is_negative
from stages.bestie.losses import weighted_losses
from stages.bestie.network import BestieNetwork, Outputs
from stages.bestie.refinement import refined_targets, refined_targets_from_points
from stages.bestie.settings import BestieTrainingSettings
from stages.bestie.targets import Points, Targets, chosen_targets, pseudo_targets
from stages.bestie.transfer import transfer
from stages.core.artifacts.images import ImageRecord, training_images
from stages.core.artifacts.map_components import class_components, class_regions
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.storage import Artifact
from stages.core.images.loading import load_rgb, normalise
from stages.core.training.order import EpochOrder


class Batch(NamedTuple):
    """B crops of side s.

    Attributes:
        step: number of the update, from 0.
        images: (B, 3, s, s) float32, normalised.
        labels: (B, s, s) uint8, semantic maps.
        accepted: components that the pseudo labels take for instances.
        candidates: what refined labels are made for: components of tagged classes; with points all of a class as one.
        points: the cues inside the crops.
        negative: (B,) bool, crops of images that are known to show no instance.
        by_points: (B,) bool, crops of images whose cues people set.
    """

    step: int
    images: Tensor
    labels: Tensor
    accepted: Components
    candidates: Components
    points: Points
    negative: Tensor
    by_points: Tensor


class BestieTask:
    """Trains a `BestieNetwork` on the images that have tags, and on those that are known to show no instance.

    They are passed in a random order, another one each epoch; batches go on from one epoch to the next. The order
    depends on the seed alone, all else on the generator given.
    """

    def __init__(
        self, network: BestieNetwork, *, images: Artifact[ImageRecord], pseudo: Artifact[PseudoInstances],
        settings: BestieTrainingSettings,
    ) -> None:  # fmt: skip
        self.network = network
        self.images, self.pseudo, self.settings = images, pseudo, settings
        self.class_count = len(images.header["classes"])
        self.usable = training_images(images)
        self.order = EpochOrder(len(self.usable), seed=settings.seed)

    def batch(self, step: int, micro: int, generator: np.random.Generator) -> Batch:
        """The crops of forward pass `micro` of update `step`."""
        size = self.settings.data.batch
        first = (step * self.settings.training.accumulate + micro) * size
        entries = [self.entry(first + i) for i in range(size)]
        samples = [self._sample(i, generator) for i in entries]
        views, accepted, candidates, point_classes = zip(*samples, strict=True)
        return Batch(
            step=step,
            images=torch.from_numpy(np.stack([normalise(view.rgb) for view in views])),
            labels=torch.from_numpy(np.stack([view.labels for view in views])),
            accepted=batched(accepted),
            candidates=batched(candidates),
            points=Points(
                yx=torch.from_numpy(np.concatenate([view.points for view in views]).astype(np.int64)),
                images=torch.from_numpy(np.repeat(np.arange(size), [len(view.points) for view in views])),
                classes=torch.from_numpy(np.concatenate(point_classes).astype(np.int64)),
            ),
            negative=torch.tensor([is_negative(self.images, i) for i in entries]),
            by_points=torch.tensor([self._by_points(i) for i in entries]),
        )

    def losses(self, batch: Batch, generator: np.random.Generator) -> dict[str, Tensor]:
        """The weighted terms of one batch."""
        settings = self.settings
        outputs = self.network(batch.images)

        def pseudo_labels(points: Points | None) -> Targets:
            sigma = settings.data.sigma
            return pseudo_targets(batch.accepted, points=points, class_count=self.class_count, sigma=sigma)

        pseudo = chosen_targets(
            batch.by_points, lambda: pseudo_labels(batch.points), lambda: pseudo_labels(None)
        )  # fmt: skip
        refined = None
        if settings.refinement.enabled and batch.step >= settings.refinement.first_step:
            refined = self._refined(outputs, batch, pseudo)
        return weighted_losses(
            outputs, batch.labels, pseudo=pseudo, refined=refined, point_supervision=batch.by_points,
            negative=batch.negative, settings=settings.losses,
        )  # fmt: skip

    def _refined(self, outputs: Outputs, batch: Batch, pseudo: Targets) -> Targets:
        settings = self.settings
        return chosen_targets(
            batch.by_points,
            lambda: refined_targets_from_points(outputs, batch.candidates, batch.points, pseudo=pseudo),
            lambda: refined_targets(
                outputs, batch.candidates, sigma=settings.data.sigma, settings=settings.refinement
            ),
        )  # fmt: skip

    def entry(self, number: int) -> int:
        """Position among the images of the image `number`, counted over the whole training."""
        return self.usable[self.order(number)]

    def _by_points(self, i: int) -> bool:
        return bool(self.pseudo.field(self.pseudo.index(self.images.ids[i]), "by_points"))

    def _sample(self, i: int, generator: np.random.Generator) -> tuple[View, tuple, tuple, np.ndarray]:
        """A crop, its accepted components, its candidates, and the classes of the cues inside it."""
        data, record = self.settings.data, self.pseudo.find(self.images.ids[i])
        rgb = load_rgb(self.images[i], self.images.header["root"])
        check_size(record, rgb.shape[:2], self.pseudo)
        view, inside = augmented(View(rgb, record.labels, record.instances, record.points), data, generator)
        view, classes = view._replace(points=view.points[inside]), record.point_classes[inside]
        tags = self.images.field(i, "tags")
        accepted = view.instances, record.classes
        if data.accepted_on == "crop":
            area = self.settings.min_area
            accepted = transfer(view.labels, view.points, classes, tags=tags, min_area=area)[:2]
        if record.by_points:
            return view, accepted, class_regions(view.labels, classes=tags), classes
        area = self.settings.refinement.min_area
        return view, accepted, class_components(view.labels, classes=tags, min_area=area), classes
