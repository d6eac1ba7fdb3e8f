"""Self-refinement (BESTIE section 3.5): labels from the network's own outputs, made anew at every update."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.components import Components, Pixels, centroids
from stages.bestie.grouping import group, group_at_points
from stages.bestie.network import Outputs
from stages.bestie.probabilities import class_probability, mean_probability
from stages.bestie.settings import RefinementSettings
from stages.bestie.targets import Points, Targets, center_heatmap, instance_maps


class Refined(NamedTuple):
    """M refined instances of a batch; one may have no pixel.

    Attributes:
        pixels: all P that could be labelled.
        instance_id: (P,) int64, instance of each pixel, M for none.
        centers: M.
        weights: (M,) float32 in [0, 1].
    """

    pixels: Pixels
    instance_id: Tensor
    centers: Points
    weights: Tensor

    def maps(self, size: torch.Size) -> tuple[Tensor, Tensor]:
        """Offsets (B, 2, H, W) and weights (B, H, W), as `instance_maps` gives them."""
        return instance_maps(self.pixels, self.instance_id, centers=self.centers.yx, weights=self.weights, size=size)


@torch.no_grad()
def refined_targets(outputs: Outputs, components: Components, *, sigma: float, settings: RefinementSettings) -> Targets:
    """Refined labels of a batch with image tags: maps of `refined_instances`; gradients do not pass.

    `sigma` is that of a center's Gaussian, in pixels. Plain form: `refine` in tests/bestie/reference.py.
    """
    refined = refined_instances(outputs, components, settings=settings)
    heatmap = center_heatmap(refined.centers, size=outputs.heatmap.shape, sigma=sigma)
    return Targets(heatmap, *refined.maps(components.ids.shape))


@torch.no_grad()
def refined_instances(outputs: Outputs, components: Components, *, settings: RefinementSettings) -> Refined:
    """Instances of a batch with image tags.

    Each component falls into instances by the predicted centers and offsets (`group`); one that falls into too many is
    left out. An instance's center c_n is where its score is highest; where that is below the threshold, the centroid of
    its component. Its pixels have the weight (equation 2)

        W_n = C(c_n)

    with C the predicted center heatmap of the class. All weights are cut to 0 to 1.

    Differs from the paper: the components are those of the given semantic map, not of the predicted one; with `weight`
    center_and_class W_n = C(c_n) s_n, with s_n the mean probability of the class in the instance, or s_n alone where
    C(c_n) is below the threshold (official code).

    Args:
        outputs: of the network.
        components: of the tagged classes, from `class_components`.
        settings: see `RefinementSettings`.
    """
    # P pixels, N components, M instances
    groups = group(outputs.heatmap, outputs.offsets, components, settings=settings.grouping, keep_without_center=False)
    count = len(components.classes)
    below = groups.scores < settings.grouping.center_threshold  # (M,)
    weights = groups.scores
    if settings.weight == "center_and_class" and len(weights):
        probabilities = class_probability(outputs.semantic, components, groups.pixels)  # (P,)
        mean = mean_probability(probabilities, groups.instance_id, groups.areas)  # (M,)
        weights = torch.where(below, mean, groups.scores * mean)
    kept = torch.ones_like(below)
    if settings.max_instances is not None:
        center_count = groups.rank.new_zeros(count).scatter_reduce_(0, groups.component_id, groups.rank + 1, "amax")
        kept = center_count[groups.component_id] <= settings.max_instances
    middles = centroids(groups.pixels, count)[groups.component_id]
    yx = torch.where(below[:, None], middles, groups.argmax)
    kept_or_none = functional.pad(kept, (0, 1))  # the last entry stands for pixels of no instance
    new_id = torch.where(kept_or_none, kept_or_none.cumsum(0) - 1, kept.sum())
    return Refined(
        pixels=groups.pixels,
        instance_id=new_id.index_select(0, groups.instance_id),
        centers=Points(yx[kept], groups.centers.images[kept], groups.centers.classes[kept]),
        weights=weights.clamp(0, 1)[kept],
    )


@torch.no_grad()
def refined_targets_from_points(outputs: Outputs, regions: Components, points: Points, *, pseudo: Targets) -> Targets:
    """Refined labels of a batch with point supervision (official code): maps of `instances_at_points`.

    The center heatmap is that of the pseudo labels.
    """
    return Targets(pseudo.heatmap, *instances_at_points(outputs, regions, points).maps(regions.ids.shape))


@torch.no_grad()
def instances_at_points(outputs: Outputs, regions: Components, points: Points) -> Refined:
    """Instances of a batch with point supervision (official code), one per point that has a region: weight 1.

    Every pixel of a class's region belongs to one of the given points of the class (`group_at_points`).
    Differs from the official code: points on the first row or column count, and any number of them.

    Args:
        outputs: of the network.
        regions: one component for each tagged class of each image, from `class_regions`.
        points: of the batch.
    """
    class_count = outputs.heatmap.shape[1]
    pixels, point_id, centers = group_at_points(outputs.offsets, regions, points, class_count=class_count)
    return Refined(pixels, point_id, centers, weights=torch.ones(len(centers.yx), device=pixels.index.device))
