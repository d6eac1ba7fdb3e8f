"""Instances from center maps and offsets (BESTIE equation 1).

Every component of every image of a batch is treated at once, each as if it were alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.centers import Centers, clustered_centers, peak_centers, with_lonely
from stages.bestie.components import Components, Pixels, offsets_at, pixels_of, values_at
from stages.bestie.settings import GroupingSettings

CLUSTERED_SCORE = 1.0  # that a clustered center has from then on (official code)
# A flat center map has as many centers as pixels; of one component the first of them, row by row, stay.
MAX_CENTERS = 1000


class Groups(NamedTuple):
    """M instances, none empty, by component; within one by its centers: peaks row by row, then clustered ones.

    Attributes:
        pixels: all pixels of the components, with the component as owner.
        owners: (P,) int64, instance of each pixel, M for none.
        components: (M,) int64, the component that the instance is part of.
        numbers: (M,) int64, place of its center among the component's centers, from 0.
        images, classes: (M,) int64.
        centers: (M, 2) int64 (y, x), that its pixels were nearest to.
        center_scores: (M,) float32, the highest score inside the instance.
        tops: (M, 2) int64 (y, x), where that is; the first row by row.
        clustered: (M,) bool, whether that score is a clustered center's.
        areas: (M,) int64 pixels.
    """

    pixels: Pixels
    owners: Tensor
    components: Tensor
    numbers: Tensor
    images: Tensor
    classes: Tensor
    centers: Tensor
    center_scores: Tensor
    tops: Tensor
    clustered: Tensor
    areas: Tensor

    def ids(self, size: torch.Size) -> Tensor:
        """(B, H, W) int32; 0: none, 1 + i: instance i."""
        flat = torch.zeros(size.numel(), dtype=torch.int32, device=self.owners.device)
        numbers = torch.where(self.owners < len(self.areas), self.owners + 1, 0)
        return flat.scatter_(0, self.pixels.places, numbers.int()).reshape(size)


@torch.no_grad()
def group(
    center_maps: Tensor, offsets: Tensor, components: Components, *, settings: GroupingSettings, whole: bool
) -> Groups:
    """Split each component into instances (equation 1).

    Centers are the pixels whose score exceeds the threshold and equals the highest of the component in a window around
    them; clustered ones are added. A pixel belongs to the center that pixel plus offset is nearest to; of equally near
    ones to the first.

    Args:
        center_maps: (B, C, H, W) center heatmap; any number, no activation. Not a number is never a center.
        offsets: (B, 2, H, W), (dy, dx) to the center, pixels.
        components: of the batch.
        settings: see `GroupingSettings`.
        whole: a component without a center is one instance, with its centroid as center; false: it has none.
    """
    pixels = pixels_of(components)
    heatmap = values_at(center_maps, components.classes, pixels)
    steps = offsets_at(offsets, components, pixels)
    count = len(components.classes)
    centers = peak_centers(heatmap, pixels, count, settings)
    clustered = torch.zeros_like(heatmap, dtype=torch.bool)
    if settings.clustering:
        added, hit = clustered_centers(heatmap, steps, pixels, components, centers, settings)
        heatmap[hit], clustered[hit] = CLUSTERED_SCORE, True
        centers = Centers(*(torch.cat(pair) for pair in zip(centers, added, strict=True)))
    if whole:
        centers = with_lonely(centers, pixels, count)
    centers = centers.by_component()
    few = centers.among_own() < MAX_CENTERS
    centers = Centers(centers.owners[few], centers.places[few])
    owners = nearest(pixels, steps, centers, count)
    return _measured(pixels, owners, centers, heatmap, clustered, components)


def nearest(pixels: Pixels, steps: tuple[Tensor, Tensor], centers: Centers, count: int) -> Tensor:
    """The center of its component that each pixel's offset points nearest to (equation 1), (P,) int64; K without any.

    Args:
        pixels: with the component as owner.
        steps: dy (P,) and dx (P,) float32, the offsets of the pixels.
        centers: K, sorted by component; of equally near ones the first counts.
        count: number of components.
    """
    counts = torch.bincount(centers.owners, minlength=count)
    starts = torch.where(counts > 0, counts.cumsum(0) - counts, len(centers.owners))
    found = starts.index_select(0, pixels.owners)
    ends = sorted(set(counts.tolist()))  # after how many centers some components have no other
    if ends and ends[-1] > 1:
        # Of components with one center or none there is nothing to compare.
        choices = counts.index_select(0, pixels.owners)
        chosen = (choices > 1).nonzero()[:, 0] if ends[0] < 2 else None
        parts = (found, choices, pixels.ys + steps[0], pixels.xs + steps[1])
        parts = parts if chosen is None else tuple(part.index_select(0, chosen) for part in parts)
        best = _nearest_of_several(*parts, centers=centers, ends=set(ends))
        found = best if chosen is None else found.index_copy_(0, chosen, best)
    return found


def _nearest_of_several(
    first: Tensor, choices: Tensor, ys: Tensor, xs: Tensor, *, centers: Centers, ends: set[int]
) -> Tensor:
    """The nearest of the centers `first` to `first + choices - 1` of each of (Q,) places (y, x), (Q,) int64."""
    center_ys, center_xs = centers.places.float().T.contiguous()
    found, places = torch.empty_like(first), None
    best, least = first, torch.full_like(ys, torch.inf)
    for number in range(max(ends)):
        candidate = first + number
        distance = (center_ys.index_select(0, candidate) - ys).square_()
        distance += (center_xs.index_select(0, candidate) - xs).square_()
        nearer = distance < least
        best = torch.where(nearer, candidate, best)
        least = torch.where(nearer, distance, least)
        if number + 1 in ends and number + 1 > 1:  # some have no further center
            found = best if places is None else found.index_copy_(0, places, best)
            if number + 1 == max(ends):
                break
            more = (choices > number + 1).nonzero()[:, 0]
            places = more if places is None else places.index_select(0, more)
            first, choices, ys, xs, best, least = (
                part.index_select(0, more) for part in (first, choices, ys, xs, best, least)
            )
    return found


def _measured(
    pixels: Pixels, owners: Tensor, centers: Centers, heatmap: Tensor, clustered: Tensor, components: Components
) -> Groups:
    """The instances that have pixels."""
    areas = torch.bincount(owners, minlength=len(centers.owners) + 1)[:-1]
    kept = areas > 0
    count = int(kept.sum())
    owners = functional.pad(kept.cumsum(0) - 1, (0, 1), value=count).index_select(0, owners)
    center_scores = heatmap.new_full((count + 1,), -torch.inf).scatter_reduce_(0, owners, heatmap, "amax")
    # Where the score is not a number no pixel is the highest: the last one of all stands in.
    last = max(len(owners) - 1, 0)
    highest = torch.where(
        heatmap == center_scores.index_select(0, owners), torch.arange(len(owners), device=heatmap.device), last
    )
    tops = owners.new_full((count + 1,), last).scatter_reduce_(0, owners, highest, "amin")[:-1]
    center_scores = center_scores[:-1]
    parts = centers.owners[kept]
    return Groups(
        pixels=pixels,
        owners=owners,
        components=parts,
        numbers=centers.among_own()[kept],
        images=components.images[parts],
        classes=components.classes[parts],
        centers=centers.places[kept],
        center_scores=center_scores,
        tops=torch.stack([pixels.ys[tops], pixels.xs[tops]], 1),
        clustered=clustered[tops] & (center_scores == CLUSTERED_SCORE),
        areas=areas[kept],
    )
