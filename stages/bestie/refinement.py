"""Self-refinement (BESTIE section 3.5): labels from the network's own outputs, made anew at every update."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.centers import Centers
from stages.bestie.components import Components, Pixels, centroids, offsets_at, pixels_of, values_at
from stages.bestie.grouping import group, nearest
from stages.bestie.network import Outputs
from stages.bestie.settings import RefinementSettings
from stages.bestie.targets import Points, Targets, center_map, instance_maps


class Refined(NamedTuple):
    """M refined instances of a batch; one may have no pixel.

    Attributes:
        pixels: of all that could be labelled.
        owners: (P,) int64, instance of each pixel, M for none.
        centers: (M, 2) int64 (y, x).
        weights: (M,) float32 in [0, 1].
        images, classes: (M,) int64.
    """

    pixels: Pixels
    owners: Tensor
    centers: Tensor
    weights: Tensor
    images: Tensor
    classes: Tensor

    def maps(self, size: torch.Size) -> tuple[Tensor, Tensor]:
        """Offsets (B, 2, H, W) and weights (B, H, W), as `instance_maps` gives them."""
        return instance_maps(self.pixels, self.owners, centers=self.centers, weights=self.weights, size=size)


@torch.no_grad()
def refined_targets(outputs: Outputs, components: Components, *, sigma: float, settings: RefinementSettings) -> Targets:
    """Refined labels of a batch with image tags: maps of `refined_instances`; gradients do not pass.

    `sigma` is that of a center's Gaussian, in pixels.
    """
    found = refined_instances(outputs, components, settings=settings)
    drawn = Points(found.centers, found.images, found.classes)
    return Targets(center_map(drawn, size=outputs.centers.shape, sigma=sigma), *found.maps(components.ids.shape))


@torch.no_grad()
def refined_instances(outputs: Outputs, components: Components, *, settings: RefinementSettings) -> Refined:
    """Instances of a batch with image tags.

    The components are those of the given semantic map, not of the predicted one (official code). Each falls into
    instances by the predicted centers and offsets; one that falls into too many is left out. An instance's center is
    where its score is highest; where that is below the threshold, the centroid of its component.

    Weights (equation 2): the score at the center; with `weight` center_and_class times the mean probability of the
    class in the instance, or that probability alone where the score is below the threshold (official code). All are cut
    to 0 to 1.

    Args:
        outputs: of the network.
        components: of the tagged classes, from `class_components`.
        settings: see `RefinementSettings`.
    """
    found = group(outputs.centers, outputs.offsets, components, settings=settings.grouping, whole=False)
    count = len(components.classes)
    middles = centroids(found.pixels, count)[found.components]
    cold = found.center_scores < settings.grouping.center_threshold
    confidence = found.center_scores
    if settings.weight == "center_and_class" and len(confidence):
        mean = mean_probability(
            class_probability(outputs.semantic, components, found.pixels), found.owners, found.areas
        )
        confidence = torch.where(cold, mean, found.center_scores * mean)
    kept = torch.ones_like(cold)
    if settings.max_instances is not None:
        most = found.numbers.new_zeros(count).scatter_reduce_(0, found.components, found.numbers + 1, "amax")
        kept = most[found.components] <= settings.max_instances
    centers = torch.where(cold[:, None], middles, found.tops)
    numbers = torch.where(functional.pad(kept, (0, 1)), functional.pad(kept, (0, 1)).cumsum(0) - 1, kept.sum())
    return Refined(
        pixels=found.pixels,
        owners=numbers.index_select(0, found.owners),
        centers=centers[kept],
        weights=confidence.clamp(0, 1)[kept],
        images=found.images[kept],
        classes=found.classes[kept],
    )


@torch.no_grad()
def refined_targets_from_points(outputs: Outputs, regions: Components, points: Points, *, pseudo: Targets) -> Targets:
    """Refined labels of a batch with point supervision (official code): maps of `instances_at_points`.

    The center map is that of the pseudo labels.
    """
    found = instances_at_points(outputs, regions, points)
    return Targets(pseudo.centers, *found.maps(regions.ids.shape))


@torch.no_grad()
def instances_at_points(outputs: Outputs, regions: Components, points: Points) -> Refined:
    """Instances of a batch with point supervision (official code), one per point that has a region: weight 1.

    Every pixel of a class's region, connected or not, belongs to the point of the class that pixel plus predicted
    offset is nearest to; of equally near ones to the first given.
    Differs from the official code: points on the first row or column count, and any number of them.

    Args:
        outputs: of the network.
        regions: one part for each tagged class of each image, from `class_regions`.
        points: of the batch.
    """
    pixels, class_count = pixels_of(regions), outputs.centers.shape[1]
    count = len(regions.classes)
    table = points.classes.new_full((regions.ids.shape[0] * class_count,), -1)
    table[regions.images * class_count + regions.classes] = torch.arange(count, device=table.device)
    owners = table[points.images * class_count + points.classes]
    centers = Centers(owners[owners >= 0], points.places[owners >= 0]).by_component()
    return Refined(
        pixels=pixels,
        owners=nearest(pixels, offsets_at(outputs.offsets, regions, pixels), centers, count),
        centers=centers.places,
        weights=torch.ones(len(centers.owners), device=pixels.owners.device),
        images=regions.images[centers.owners],
        classes=regions.classes[centers.owners],
    )


def class_probability(logits: Tensor, components: Components, pixels: Pixels) -> Tensor:
    """Probability (P,) float32 of its component's class at each pixel, from logits (B, C + 1, H, W).

    The official code zeroes the other classes without dividing anew, which leaves these numbers as they are.
    """
    area = logits.shape[-2] * logits.shape[-1]
    own = values_at(logits, components.classes + 1, pixels)
    starts = torch.arange(len(logits) + 1, device=own.device) * area
    ends = torch.searchsorted(pixels.places, starts).tolist()
    found = torch.empty_like(own)
    for number, (start, end) in enumerate(pairwise(ends)):
        here = pixels.places[start:end] - number * area
        rows = logits[number].reshape(-1, area).index_select(1, here).float()
        # Where another class is out of reach of exp() its infinity gives the probability 0, as it should.
        found[start:end] = rows.sub_(own[start:end]).exp_().sum(0).reciprocal_()
    return found


def mean_probability(probabilities: Tensor, owners: Tensor, areas: Tensor) -> Tensor:
    """Mean of pixels' probabilities (P,) over each of M instances of `areas` (M,); pixels of owner M belong to none."""
    sums = torch.zeros(len(areas) + 1, dtype=torch.float64, device=areas.device)
    return (sums.index_add_(0, owners, probabilities.double())[:-1] / areas).float()
