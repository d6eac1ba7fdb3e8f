"""Centers of instances: peaks of center maps, and places where offsets vanish (BESTIE appendix: center clustering).

Every component of every image of a batch is treated at once, each as if it were alone.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.components import Components, Pixels, centroids
from stages.bestie.settings import GroupingSettings


class Centers(NamedTuple):
    """K centers, sorted by component: `owners` (K,) int64 the component, `places` (K, 2) int64 (y, x)."""

    owners: Tensor
    places: Tensor

    def by_component(self) -> "Centers":
        """Sorted by component, otherwise in the same order."""
        owners, order = self.owners.sort(stable=True)
        return Centers(owners, self.places[order])

    def among_own(self) -> Tensor:
        """(K,) int64, place of each among the centers of its component."""
        return torch.arange(len(self.owners), device=self.owners.device) - torch.searchsorted(self.owners, self.owners)


def peak_centers(heatmap: Tensor, pixels: Pixels, count: int, settings: GroupingSettings) -> Centers:
    """Pixels with the highest score of their component in the window, above the threshold; all pixels of a flat top.

    `heatmap` (P,) float32 is that of the pixels, `count` the number of components.
    """
    warm = (heatmap > settings.center_threshold).nonzero()[:, 0]
    owners, ys, xs = _picked(warm, pixels)
    if len(warm):
        reach = settings.window // 2
        sheet = _Sheet.of(owners, ys, xs, count=count, gap=reach)
        heatmap = heatmap[warm]
        spread = torch.full((sheet.height * sheet.width,), -torch.inf, device=heatmap.device)
        spread[sheet.places] = heatmap
        highest = _window_maximum(spread.reshape(sheet.height, sheet.width), settings.window)
        top = highest.reshape(-1)[sheet.places] == heatmap
        owners, ys, xs = owners[top], ys[top], xs[top]
    return Centers(owners, torch.stack([ys, xs], 1))


def _picked(chosen: Tensor, pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
    """Owner, y and x of some pixels."""
    owners, ys, xs = (part.index_select(0, chosen) for part in (pixels.owners, pixels.ys, pixels.xs))
    return owners, ys, xs


class _Sheet(NamedTuple):
    """Pixels laid out on one sheet, component below component, so that no neighbourhood holds pixels of two.

    Attributes:
        places: (Q,) int64, index of each pixel into the flattened sheet.
        starts: (N,) int64, first row of each component.
        corners: (N, 2) int64 (y, x) of the image that the first row and column 0 stand for.
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


def clustered_centers(
    heatmap: Tensor,
    steps: tuple[Tensor, Tensor],
    pixels: Pixels,
    components: Components,
    peaks: Centers,
    settings: GroupingSettings,
) -> tuple[Centers, Tensor]:
    """Centers where offsets vanish (appendix: center clustering), and their places in the list of pixels.

    Differs from the paper: a clustered center needs a least score and, unless `cluster_distance` is null, distance from
    every peak of its component (official code). One on a peak is that peak and not added.
    """
    found = _clusters(steps, pixels, len(components.classes), settings)
    height, width = components.ids.shape[-2:]
    ys, xs = found.places.unbind(1)
    places = (components.images[found.owners] * height + ys) * width + xs
    index = torch.searchsorted(pixels.places, places).clamp(max=max(len(pixels.places) - 1, 0))
    inside = (pixels.places[index] == places) & (pixels.owners[index] == found.owners)
    kept = inside & (heatmap[index] > settings.cluster_threshold)
    distance = (found.places[:, None] - peaks.places).float().square().sum(2).sqrt()
    limit = -1.0 if settings.cluster_distance is None else settings.cluster_distance
    near = (distance <= limit) | (distance == 0)
    kept &= ~(near & (found.owners[:, None] == peaks.owners)).any(1)
    return Centers(found.owners[kept], found.places[kept]), index[kept]


def _clusters(steps: tuple[Tensor, Tensor], pixels: Pixels, count: int, settings: GroupingSettings) -> Centers:
    """4-connected sets of pixels with short offsets, of the right area; centroids cut to whole pixels.

    By component, then by their first pixel, row by row.
    """
    length = steps[0].square().addcmul_(steps[1], steps[1])
    short = (length < settings.cluster_magnitude**2).nonzero()[:, 0]
    none = Centers(short.new_zeros(0), short.new_zeros(0, 2))
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
    return Centers(owners, torch.stack([rows - sheet.starts[owners], columns], 1) + sheet.corners[owners])


def with_lonely(centers: Centers, pixels: Pixels, count: int) -> Centers:
    """The centers, and the centroid of each component that has none but has pixels."""
    seen = torch.bincount(pixels.owners, minlength=count) > 0
    lonely = (seen & (torch.bincount(centers.owners, minlength=count) == 0)).nonzero()[:, 0]
    middles = centroids(pixels, count)[lonely]
    return Centers(torch.cat([centers.owners, lonely]), torch.cat([centers.places, middles]))
