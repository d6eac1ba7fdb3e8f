"""Instances from centre maps and offsets (BESTIE equation 1).

Every component of every picture of a batch is treated at once, each as if it were alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.centres import Centres, clustered_centres, peak_centres, with_lonely
from stages.bestie.components import Components, Pixels, offsets_at, pixels_of, values_at
from stages.bestie.settings import GroupingSettings

CLUSTERED_HEAT = 1.0  # that a clustered centre has from then on (released code)
# A flat centre map has as many centres as pixels; of one component the first of them, row by row, stay.
MOST_CENTRES = 1000


class Groups(NamedTuple):
    """M instances, none empty, by component; within one by its centres: peaks row by row, then clustered ones.

    Attributes:
        pixels: all pixels of the components, with the component as owner.
        owners: (P,) int64, instance of each pixel, M for none.
        components: (M,) int64, the component that the instance is part of.
        numbers: (M,) int64, place of its centre among the component's centres, from 0.
        pictures, classes: (M,) int64.
        centres: (M, 2) int64 (y, x), that its pixels were nearest to.
        heats: (M,) float32, the highest heat inside the instance.
        tops: (M, 2) int64 (y, x), where that is; the first row by row.
        clustered: (M,) bool, whether that heat is a clustered centre's.
        areas: (M,) int64 pixels.
    """

    pixels: Pixels
    owners: Tensor
    components: Tensor
    numbers: Tensor
    pictures: Tensor
    classes: Tensor
    centres: Tensor
    heats: Tensor
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
    centre_maps: Tensor, offsets: Tensor, components: Components, *, settings: GroupingSettings, whole: bool
) -> Groups:
    """Split each component into instances (equation 1).

    Centres are the pixels whose heat exceeds the threshold and equals the highest of the component in a window around
    them; clustered ones are added. A pixel belongs to the centre that pixel plus offset is nearest to; of equally near
    ones to the first.

    Args:
        centre_maps: (B, C, H, W) heat of centres; any number, no activation. Not a number is never a centre.
        offsets: (B, 2, H, W), (dy, dx) to the centre, pixels.
        components: of the batch.
        settings: see `GroupingSettings`.
        whole: a component without a centre is one instance, with its centroid as centre; false: it has none.
    """
    pixels = pixels_of(components)
    heat = values_at(centre_maps, components.classes, pixels)
    steps = offsets_at(offsets, components, pixels)
    count = len(components.classes)
    centres = peak_centres(heat, pixels, count, settings)
    clustered = torch.zeros_like(heat, dtype=torch.bool)
    if settings.clustering:
        added, hit = clustered_centres(heat, steps, pixels, components, centres, settings)
        heat[hit], clustered[hit] = CLUSTERED_HEAT, True
        centres = Centres(*(torch.cat(pair) for pair in zip(centres, added, strict=True)))
    if whole:
        centres = with_lonely(centres, pixels, count)
    centres = centres.by_component()
    few = centres.among_own() < MOST_CENTRES
    centres = Centres(centres.owners[few], centres.places[few])
    owners = nearest(pixels, steps, centres, count)
    return _measured(pixels, owners, centres, heat, clustered, components)


def nearest(pixels: Pixels, steps: tuple[Tensor, Tensor], centres: Centres, count: int) -> Tensor:
    """The centre of its component that each pixel's offset points nearest to (equation 1), (P,) int64; K without any.

    Args:
        pixels: with the component as owner.
        steps: dy (P,) and dx (P,) float32, the offsets of the pixels.
        centres: K, sorted by component; of equally near ones the first counts.
        count: number of components.
    """
    counts = torch.bincount(centres.owners, minlength=count)
    starts = torch.where(counts > 0, counts.cumsum(0) - counts, len(centres.owners))
    found = starts.index_select(0, pixels.owners)
    ends = sorted(set(counts.tolist()))  # after how many centres some components have no other
    if ends and ends[-1] > 1:
        # Of components with one centre or none there is nothing to compare.
        choices = counts.index_select(0, pixels.owners)
        chosen = (choices > 1).nonzero()[:, 0] if ends[0] < 2 else None
        parts = (found, choices, pixels.ys + steps[0], pixels.xs + steps[1])
        parts = parts if chosen is None else tuple(part.index_select(0, chosen) for part in parts)
        best = _nearest_of_several(*parts, centres=centres, ends=set(ends))
        found = best if chosen is None else found.index_copy_(0, chosen, best)
    return found


def _nearest_of_several(
    first: Tensor, choices: Tensor, ys: Tensor, xs: Tensor, *, centres: Centres, ends: set[int]
) -> Tensor:
    """The nearest of the centres `first` to `first + choices - 1` of each of (Q,) places (y, x), (Q,) int64."""
    centre_ys, centre_xs = centres.places.float().T.contiguous()
    found, places = torch.empty_like(first), None
    best, least = first, torch.full_like(ys, torch.inf)
    for number in range(max(ends)):
        candidate = first + number
        distance = (centre_ys.index_select(0, candidate) - ys).square_()
        distance += (centre_xs.index_select(0, candidate) - xs).square_()
        nearer = distance < least
        best = torch.where(nearer, candidate, best)
        least = torch.where(nearer, distance, least)
        if number + 1 in ends and number + 1 > 1:  # some have no further centre
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
    pixels: Pixels, owners: Tensor, centres: Centres, heat: Tensor, clustered: Tensor, components: Components
) -> Groups:
    """The instances that have pixels."""
    areas = torch.bincount(owners, minlength=len(centres.owners) + 1)[:-1]
    kept = areas > 0
    count = int(kept.sum())
    owners = functional.pad(kept.cumsum(0) - 1, (0, 1), value=count).index_select(0, owners)
    heats = heat.new_full((count + 1,), -torch.inf).scatter_reduce_(0, owners, heat, "amax")
    # Where the heat is not a number no pixel is the highest: the last one of all stands in.
    last = max(len(owners) - 1, 0)
    highest = torch.where(heat == heats.index_select(0, owners), torch.arange(len(owners), device=heat.device), last)
    tops = owners.new_full((count + 1,), last).scatter_reduce_(0, owners, highest, "amin")[:-1]
    heats = heats[:-1]
    parts = centres.owners[kept]
    return Groups(
        pixels=pixels,
        owners=owners,
        components=parts,
        numbers=centres.among_own()[kept],
        pictures=components.pictures[parts],
        classes=components.classes[parts],
        centres=centres.places[kept],
        heats=heats,
        tops=torch.stack([pixels.ys[tops], pixels.xs[tops]], 1),
        clustered=clustered[tops] & (heats == CLUSTERED_HEAT),
        areas=areas[kept],
    )
