"""Instances from centre maps and offsets (BESTIE equation 1, and the appendix on center clustering).

Every component of every picture of a batch is treated at once, each as if it were alone.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.components import Components, Pixels, centroids, offsets_at, pixels_of, values_at
from stages.core.config.bestie import GroupingSettings

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


class Centres(NamedTuple):
    """K centres, sorted by component: `owners` (K,) int64 the component, `places` (K, 2) int64 (y, x)."""

    owners: Tensor
    places: Tensor

    def by_component(self) -> "Centres":
        """Sorted by component, otherwise in the same order."""
        owners, order = self.owners.sort(stable=True)
        return Centres(owners, self.places[order])

    def among_own(self) -> Tensor:
        """(K,) int64, place of each among the centres of its component."""
        return torch.arange(len(self.owners), device=self.owners.device) - torch.searchsorted(self.owners, self.owners)


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
    centres = _peaks(heat, pixels, count, settings)
    clustered = torch.zeros_like(heat, dtype=torch.bool)
    if settings.clustering:
        added, hit = _clustered_centres(heat, steps, pixels, components, centres, settings)
        heat[hit], clustered[hit] = CLUSTERED_HEAT, True
        centres = Centres(*(torch.cat(pair) for pair in zip(centres, added, strict=True)))
    if whole:
        centres = _with_lonely(centres, pixels, count)
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


def _peaks(heat: Tensor, pixels: Pixels, count: int, settings: GroupingSettings) -> Centres:
    """Pixels with the highest heat of their component in the window; all pixels of a flat top."""
    warm = (heat > settings.centre_threshold).nonzero()[:, 0]
    owners, ys, xs = _picked(warm, pixels)
    if len(warm):
        reach = settings.window // 2
        sheet = _Sheet.of(owners, ys, xs, count=count, gap=reach)
        heat = heat[warm]
        spread = torch.full((sheet.height * sheet.width,), -torch.inf, device=heat.device)
        spread[sheet.places] = heat
        highest = _window_maximum(spread.reshape(sheet.height, sheet.width), settings.window)
        top = highest.reshape(-1)[sheet.places] == heat
        owners, ys, xs = owners[top], ys[top], xs[top]
    return Centres(owners, torch.stack([ys, xs], 1))


def _picked(chosen: Tensor, pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
    """Owner, y and x of some pixels."""
    owners, ys, xs = (part.index_select(0, chosen) for part in (pixels.owners, pixels.ys, pixels.xs))
    return owners, ys, xs


class _Sheet(NamedTuple):
    """Pixels laid out on one sheet, component below component, so that no neighbourhood holds pixels of two.

    Attributes:
        places: (Q,) int64, index of each pixel into the flattened sheet.
        starts: (N,) int64, first row of each component.
        corners: (N, 2) int64 (y, x) of the picture that the first row and column 0 stand for.
        height, width: of the sheet.
    """

    places: Tensor
    starts: Tensor
    corners: Tensor
    height: int
    width: int

    @classmethod
    def of(cls, owners: Tensor, ys: Tensor, xs: Tensor, *, count: int, gap: int) -> "_Sheet":
        """Lay out pixels of `count` components with `gap` free rows between them, each cut to the box of its pixels."""
        spans = []
        for values in (ys, xs):
            low = values.new_full((count,), 1 << 40).scatter_reduce_(0, owners, values, "amin")
            high = values.new_full((count,), -1).scatter_reduce_(0, owners, values, "amax")
            spans.append((low, (high - low + 1).clamp(min=0)))
        (top, rows), (left, columns) = spans
        ends = (rows + gap).cumsum(0)
        height, width = (int(side) for side in torch.stack([ends[-1], columns.max()]).tolist())
        starts = ends - rows - gap
        places = (starts[owners] + ys - top[owners]) * width + xs - left[owners]
        return cls(places, starts, torch.stack([top, left], 1), height, width)


def _window_maximum(values: Tensor, window: int) -> Tensor:
    """Maximum in a square window of odd side around each entry of a matrix; beyond the border lies -inf.

    Windows are joined from two that are half as wide, so the cost hardly depends on the window.
    """
    reach = window // 2
    values = functional.pad(values, (reach, reach, reach, reach), value=-torch.inf)
    for axis in (0, 1):
        side = 1
        while side < window:
            step = min(side, window - side)
            length = values.shape[axis] - step
            values = torch.maximum(values.narrow(axis, 0, length), values.narrow(axis, step, length))
            side += step
    return values


def _clustered_centres(
    heat: Tensor,
    steps: tuple[Tensor, Tensor],
    pixels: Pixels,
    components: Components,
    peaks: Centres,
    settings: GroupingSettings,
) -> tuple[Centres, Tensor]:
    """Centres where offsets vanish (appendix: center clustering), and their places in the list of pixels.

    Differs from the paper: a clustered centre needs some heat and, unless `cluster_distance` is null, distance from
    every peak of its component (released code). One on a peak is that peak and not added.
    """
    found = _clusters(steps, pixels, len(components.classes), settings)
    height, width = components.ids.shape[-2:]
    ys, xs = found.places.unbind(1)
    places = (components.pictures[found.owners] * height + ys) * width + xs
    index = torch.searchsorted(pixels.places, places).clamp(max=max(len(pixels.places) - 1, 0))
    inside = (pixels.places[index] == places) & (pixels.owners[index] == found.owners)
    kept = inside & (heat[index] > settings.cluster_heat)
    distance = (found.places[:, None] - peaks.places).float().square().sum(2).sqrt()
    limit = -1.0 if settings.cluster_distance is None else settings.cluster_distance
    near = (distance <= limit) | (distance == 0)
    kept &= ~(near & (found.owners[:, None] == peaks.owners)).any(1)
    return Centres(found.owners[kept], found.places[kept]), index[kept]


def _clusters(steps: tuple[Tensor, Tensor], pixels: Pixels, count: int, settings: GroupingSettings) -> Centres:
    """4-connected sets of pixels with short offsets, of the right area; centroids cut to whole pixels.

    By component, then by their first pixel, row by row.
    """
    length = steps[0].square().addcmul_(steps[1], steps[1])
    short = (length < settings.cluster_magnitude**2).nonzero()[:, 0]
    none = Centres(short.new_zeros(0), short.new_zeros(0, 2))
    if not len(short):
        return none
    sheet = _Sheet.of(*_picked(short, pixels), count=count, gap=1)
    drawn = torch.zeros(sheet.height * sheet.width, dtype=torch.uint8, device=short.device)
    drawn[sheet.places] = 1
    mask = drawn.reshape(sheet.height, sheet.width).cpu().numpy()
    flat = cv2.connectedComponents(mask, connectivity=4)[1].reshape(-1)
    areas = np.bincount(flat)
    fits = np.abs(areas - settings.cluster_area) < settings.cluster_tolerance + (not settings.cluster_exclusive)
    fits[0] = False
    if not fits.any():
        return none
    places = fits[flat].nonzero()[0]
    numbers, first, members = np.unique(flat[places], return_index=True, return_inverse=True)
    order = np.argsort(first)
    means = [np.bincount(members, weights=axis)[order] // areas[numbers[order]] for axis in divmod(places, sheet.width)]
    rows, columns = torch.from_numpy(np.stack(means).astype(np.int64)).to(short.device)
    owners = torch.searchsorted(sheet.starts, rows, right=True) - 1
    return Centres(owners, torch.stack([rows - sheet.starts[owners], columns], 1) + sheet.corners[owners])


def _with_lonely(centres: Centres, pixels: Pixels, count: int) -> Centres:
    """The centres, and the centroid of each component that has none but has pixels."""
    seen = torch.bincount(pixels.owners, minlength=count) > 0
    lonely = (seen & (torch.bincount(centres.owners, minlength=count) == 0)).nonzero()[:, 0]
    middles = centroids(pixels, count)[lonely]
    return Centres(torch.cat([centres.owners, lonely]), torch.cat([centres.places, middles]))


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
