"""Instances from center heatmaps and offsets (BESTIE equation 1).

The components of all images of a batch are treated at once, each as if it were alone. `tests/bestie/reference.py` has
the plain form, one component after the other on full-size maps.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.centers import Centers, clustered_centers, peak_centers, with_centroids
from stages.bestie.components import Components, Pixels, id_map, offsets_at, pixels_of, values_at
from stages.bestie.settings import GroupingSettings
from stages.bestie.targets import Points

CLUSTERED_SCORE = 1.0  # that a clustered center has from then on (official code)
# A flat center heatmap has as many centers as pixels; of one component the first of them, row by row, stay.
MAX_CENTERS = 1000


class Groups(NamedTuple):
    """M instances, none empty, by component; within one by its centers: peaks row by row, then clustered ones.

    Attributes:
        pixels: all P pixels of the components.
        instance_id: (P,) int64, instance of each pixel, M for none.
        component_id: (M,) int64, the component that the instance is part of.
        rank: (M,) int64, place of its center among the component's centers, from 0.
        centers: M, that the instance's pixels were nearest to.
        scores: (M,) float32, the highest score inside the instance.
        argmax: (M, 2) int64 (y, x), where that is; the first row by row.
        clustered: (M,) bool, whether that score is a clustered center's.
        areas: (M,) int64 pixels.
    """

    pixels: Pixels
    instance_id: Tensor
    component_id: Tensor
    rank: Tensor
    centers: Points
    scores: Tensor
    argmax: Tensor
    clustered: Tensor
    areas: Tensor

    def ids(self, size: torch.Size) -> Tensor:
        """(B, H, W) int32; 0: none, 1 + i: instance i."""
        return id_map(self.pixels, self.instance_id, count=len(self.areas), size=size)


@torch.no_grad()
def group(
    heatmap: Tensor, offsets: Tensor, components: Components, *, settings: GroupingSettings, keep_without_center: bool
) -> Groups:
    """Split each component into instances (equation 1).

        k(p) = argmin_n | c_n - (p + O(p)) |

    p is a pixel, O(p) its offset, and c_n are the centers of p's component: `peak_centers` and, where `clustering` is
    set, `clustered_centers`. Of equally near centers the first counts. Plainly, for one component with its mask and
    centers (K, 2), as `split` in tests/bestie/reference.py:

        ends = indices(mask.shape) + offsets  # (2, H, W)
        distances = ((centers[:, :, None, None] - ends) ** 2).sum(1)  # (K, H, W)
        ids = where(mask, 1 + distances.argmin(0), 0)

    Args:
        heatmap: (B, C, H, W), center heatmaps; any number, no activation. Not a number is never a center.
        offsets: (B, 2, H, W), (dy, dx) to the center, pixels.
        components: of the batch.
        settings: see `GroupingSettings`.
        keep_without_center: a component without a center is one instance, with its centroid as center; false: none.
    """
    # P pixels, N components, K centers
    pixels = pixels_of(components)
    count = len(components.classes)
    scores = values_at(heatmap, components.classes, pixels)  # (P,)
    pixel_offsets = offsets_at(offsets, components, pixels)  # dy, dx (P,)
    centers = peak_centers(scores, pixels, count, settings)
    clustered = torch.zeros_like(scores, dtype=torch.bool)  # (P,)
    if settings.clustering:
        added, position = clustered_centers(scores, pixel_offsets, pixels, components, centers, settings)
        scores[position], clustered[position] = CLUSTERED_SCORE, True
        centers = Centers(*(torch.cat(pair) for pair in zip(centers, added, strict=True)))
    if keep_without_center:
        centers = with_centroids(centers, pixels, count)
    centers = centers.by_component()
    first = centers.ranks() < MAX_CENTERS
    centers = Centers(centers.component_id[first], centers.yx[first])
    center_id = nearest(pixels, pixel_offsets, centers, count)  # (P,) 0 to K
    return _measured(pixels, center_id, centers, scores, clustered, components)


@torch.no_grad()
def group_at_points(
    offsets: Tensor, regions: Components, points: Points, *, class_count: int
) -> tuple[Pixels, Tensor, Points]:
    """Group the pixels of each region to the given points of its class (equation 1 with the points as centers).

    A point need not lie in its region. Of equally near ones the first given counts, so the second of two at one pixel
    gets none. Plain form: `group_at_points` in tests/bestie/reference.py.

    Args:
        offsets: (B, 2, H, W), (dy, dx) to the center, pixels.
        regions: at most one of each class of each image, connected or not, from `class_regions`.
        points: of the batch; those of a class without a region are left out.
        class_count: C.

    Returns:
        All P pixels of the regions; the point of each, (P,) int64, M for none; and the M points that have a region, by
        region, otherwise in their order. No pixel may have gone to a point.
    """
    pixels, count = pixels_of(regions), len(regions.classes)
    region_of = points.classes.new_full((regions.ids.shape[0] * class_count,), -1)  # (B * C,), -1: none
    region_of[regions.images * class_count + regions.classes] = torch.arange(count, device=region_of.device)
    region_id = region_of[points.images * class_count + points.classes]
    centers = Centers(region_id[region_id >= 0], points.yx[region_id >= 0]).by_component()
    point_id = nearest(pixels, offsets_at(offsets, regions, pixels), centers, count)
    own = centers.component_id
    return pixels, point_id, Points(centers.yx, regions.images[own], regions.classes[own])


def nearest(pixels: Pixels, offsets: tuple[Tensor, Tensor], centers: Centers, count: int) -> Tensor:
    """The center of its component that each pixel's offset points nearest to (equation 1), (P,) int64; K without any.

    Rank by rank: the first center of every component, then the second of those that have one, and so on.

    Args:
        pixels: P of the batch.
        offsets: dy (P,) and dx (P,) float32, of the pixels.
        centers: K, sorted by component; of equally near ones the first counts.
        count: number of components.
    """
    counts = torch.bincount(centers.component_id, minlength=count)  # (N,) centers of each component
    starts = torch.where(counts > 0, counts.cumsum(0) - counts, len(centers.component_id))
    first, choices = (values.index_select(0, pixels.component_id) for values in (starts, counts))  # (P,)
    most = int(counts.max()) if count else 0
    if most < 2:
        return first
    ys, xs = pixels.ys + offsets[0], pixels.xs + offsets[1]
    center_ys, center_xs = functional.pad(centers.yx.float(), (0, 0, 0, 1)).T.contiguous()  # the last stands for none
    best, least = first, torch.full_like(ys, torch.inf)
    for rank in range(most):
        candidate = torch.where(rank < choices, first + rank, first)
        distance = (center_ys.index_select(0, candidate) - ys).square_()
        distance += (center_xs.index_select(0, candidate) - xs).square_()
        nearer = distance < least
        best = torch.where(nearer, candidate, best)
        least = torch.where(nearer, distance, least)
    return best


def _measured(
    pixels: Pixels, center_id: Tensor, centers: Centers, scores: Tensor, clustered: Tensor, components: Components
) -> Groups:
    """The instances of those centers that have pixels; `center_id`, `scores` and `clustered` are (P,)."""
    areas = torch.bincount(center_id, minlength=len(centers.component_id) + 1)[:-1]
    kept = areas > 0
    count = int(kept.sum())
    instance_id = functional.pad(kept.cumsum(0) - 1, (0, 1), value=count).index_select(0, center_id)
    highest = scores.new_full((count + 1,), -torch.inf).scatter_reduce_(0, instance_id, scores, "amax")
    # Where the score is not a number no pixel is the highest: the last one of all stands in.
    last = max(len(instance_id) - 1, 0)
    every = torch.arange(len(instance_id), device=scores.device)
    position = torch.where(scores == highest.index_select(0, instance_id), every, last)
    argmax = instance_id.new_full((count + 1,), last).scatter_reduce_(0, instance_id, position, "amin")[:-1]
    highest, component_id = highest[:-1], centers.component_id[kept]
    return Groups(
        pixels=pixels,
        instance_id=instance_id,
        component_id=component_id,
        rank=centers.ranks()[kept],
        centers=Points(centers.yx[kept], components.images[component_id], components.classes[component_id]),
        scores=highest,
        argmax=torch.stack([pixels.ys[argmax], pixels.xs[argmax]], 1),
        clustered=clustered[argmax] & (highest == CLUSTERED_SCORE),
        areas=areas[kept],
    )
