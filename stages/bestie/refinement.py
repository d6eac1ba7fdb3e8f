"""Self-refinement (BESTIE section 3.5): labels from the network's own outputs, made anew at every update."""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.components import Components, Pixels, centroids, offsets_at, pixels_of, values_at
from stages.bestie.grouping import Centres, group, nearest
from stages.bestie.network import Outputs
from stages.bestie.targets import Points, Targets, centre_map, instance_maps
from stages.core.config.bestie import RefinementSettings


@torch.no_grad()
def refined_targets(outputs: Outputs, components: Components, *, sigma: float, settings: RefinementSettings) -> Targets:
    """Refined labels of a batch with image tags.

    The components are those of the given semantic map, not of the predicted one (released code). Each falls into
    instances by the predicted centres and offsets; one that falls into too many is left out. An instance's centre is
    where its heat is highest; where that is below the threshold, the centroid of its component.

    Weights (equation 2): the heat at the centre; with `weight` centre_and_class times the mean probability of the class
    in the instance, or that probability alone where the heat is below the threshold (released code). All are cut to
    0 to 1.

    Args:
        outputs: of the network; gradients do not pass.
        components: of the tagged classes, from `class_components`.
        sigma: of a centre's Gaussian, pixels.
        settings: see `RefinementSettings`.
    """
    found = group(outputs.centres, outputs.offsets, components, settings=settings.grouping, whole=False)
    count = len(components.classes)
    middles = centroids(found.pixels, count)[found.components]
    cold = found.heats < settings.grouping.centre_threshold
    confidence = found.heats
    if settings.weight == "centre_and_class" and len(confidence):
        mean = mean_probability(
            class_probability(outputs.semantic, components, found.pixels), found.owners, found.areas
        )
        confidence = torch.where(cold, mean, found.heats * mean)
    kept = torch.ones_like(cold)
    if settings.most_instances is not None:
        most = found.numbers.new_zeros(count).scatter_reduce_(0, found.components, found.numbers + 1, "amax")
        kept = most[found.components] <= settings.most_instances
    centres = torch.where(cold[:, None], middles, found.tops)
    every = torch.arange(len(kept) + 1, device=kept.device)
    offsets, weights = instance_maps(
        found.pixels,
        torch.where(functional.pad(kept, (0, 1)), every, len(kept)).index_select(0, found.owners),
        centres=centres,
        weights=confidence.clamp(0, 1),
        size=components.ids.shape,
    )
    drawn = Points(centres[kept], found.pictures[kept], found.classes[kept])
    return Targets(centre_map(drawn, size=outputs.centres.shape, sigma=sigma), offsets, weights)


@torch.no_grad()
def refined_targets_from_points(outputs: Outputs, regions: Components, points: Points, *, pseudo: Targets) -> Targets:
    """Refined labels of a batch with point supervision (released code): weight 1, offsets to the nearest point.

    Every pixel of a class's region, connected or not, belongs to the point of the class that pixel plus predicted
    offset is nearest to; of equally near ones to the first given. The centre map is that of the pseudo labels.
    Differs from the released code: points on the first row or column count, and any number of them.

    Args:
        outputs: of the network.
        regions: one part for each tagged class of each picture, from `class_regions`.
        points: of the batch.
        pseudo: the pseudo labels of the batch.
    """
    pixels, class_count = pixels_of(regions), outputs.centres.shape[1]
    count = len(regions.classes)
    table = points.classes.new_full((regions.ids.shape[0] * class_count,), -1)
    table[regions.pictures * class_count + regions.classes] = torch.arange(count, device=table.device)
    owners = table[points.pictures * class_count + points.classes]
    centres = Centres(owners[owners >= 0], points.places[owners >= 0]).by_component()
    found = nearest(pixels, offsets_at(outputs.offsets, regions, pixels), centres, count)
    offsets, weights = instance_maps(
        pixels,
        found,
        centres=centres.places,
        weights=torch.ones(len(centres.owners), device=found.device),
        size=regions.ids.shape,
    )
    return Targets(pseudo.centres, offsets, weights)


def class_probability(logits: Tensor, components: Components, pixels: Pixels) -> Tensor:
    """Probability (P,) float32 of its component's class at each pixel, from logits (B, C + 1, H, W).

    The released code zeroes the other classes without dividing anew, which leaves these numbers as they are.
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
