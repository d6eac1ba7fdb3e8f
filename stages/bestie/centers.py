"""Centers of instances: peaks of center heatmaps, and places where offsets vanish (BESTIE appendix: center clustering).

The components of all images of a batch are treated at once, each as if it were alone. `tests/bestie/reference.py` has
the plain form of all of this, one component after the other on full-size maps.
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
    """K centers: `component_id` (K,) int64, and `yx` (K, 2) int64, the pixel (y, x)."""

    component_id: Tensor
    yx: Tensor

    def by_component(self) -> "Centers":
        """Sorted by component, otherwise in the same order."""
        component_id, order = self.component_id.sort(stable=True)
        return Centers(component_id, self.yx[order])

    def ranks(self) -> Tensor:
        """(K,) int64, place of each among the centers of its component, from 0; they must be sorted by component."""
        every = torch.arange(len(self.component_id), device=self.component_id.device)
        return every - torch.searchsorted(self.component_id, self.component_id)


def peak_centers(scores: Tensor, pixels: Pixels, count: int, settings: GroupingSettings) -> Centers:
    """Pixels whose score is above the threshold and the highest of their component within a window (section 3.2).

        center(p)  <=>  C(p) > threshold  and  C(p) = max C(q) over q with |q - p|_inf <= window // 2

    C is the heatmap of the component's class, p and q are pixels of one component. Of equal scores side by side all are
    centers. Plainly, for one component:

        heatmap = where(mask, heatmap, -inf)
        highest = max_pool2d(heatmap, window, stride=1, padding=window // 2)
        centers = ((heatmap > threshold) & (heatmap == highest)).nonzero()

    Args:
        scores: (P,) float32, the heatmap at the pixels.
        pixels: of the batch.
        count: number of components.
        settings: `center_threshold` and `window`.
    """
    above = (scores > settings.center_threshold).nonzero()[:, 0]
    if not len(above):
        return Centers(above, above.new_zeros(0, 2))
    sheet = _sheet(above, pixels, count=count, gap=settings.window // 2)
    heatmap = functional.pad(scores[above], (0, 1), value=-torch.inf).index_select(0, sheet.flatten()).cpu().numpy()
    # Dilation with a square is max-pooling; OpenCV's takes the same time for every window.
    highest = cv2.dilate(heatmap.reshape(sheet.shape), np.ones((settings.window, settings.window), np.uint8))
    is_peak = torch.from_numpy((heatmap > -np.inf) & (heatmap == highest.reshape(-1)))
    peaks = above[sheet.flatten()[is_peak.to(sheet.device)]]
    return Centers(pixels.component_id[peaks], torch.stack([pixels.ys[peaks], pixels.xs[peaks]], 1))


def _sheet(chosen: Tensor, pixels: Pixels, *, count: int, gap: int) -> Tensor:
    """Chosen pixels laid out on one sheet, so that no neighbourhood holds pixels of two components.

    Each component's pixels are cut to their box; the boxes lie one below the other with `gap` free rows between them.

    Args:
        chosen: (Q,) positions in `pixels`, at least one.
        pixels: of the batch.
        count: number of components.
        gap: rows.

    Returns:
        (height, width) int64, position in `chosen` of each place on the sheet; Q where there is none.
    """
    component_id, ys, xs = (part.index_select(0, chosen) for part in (pixels.component_id, pixels.ys, pixels.xs))
    first, sides = [], []
    for values in (ys, xs):
        low = values.new_full((count,), 1 << 40).scatter_reduce_(0, component_id, values, "amin")
        high = values.new_full((count,), -1).scatter_reduce_(0, component_id, values, "amax")
        first.append(low)
        sides.append((high - low + 1).clamp(min=0))
    ends = (sides[0] + gap).cumsum(0)
    height, width = torch.stack([ends[-1], sides[1].max()]).tolist()
    rows = ys + (ends - sides[0] - gap - first[0])[component_id]
    columns = xs - first[1][component_id]
    sheet = torch.full((height * width,), len(chosen), device=chosen.device)
    sheet[rows * width + columns] = torch.arange(len(chosen), device=chosen.device)
    return sheet.reshape(height, width)


def clustered_centers(
    scores: Tensor,
    offsets: tuple[Tensor, Tensor],
    pixels: Pixels,
    components: Components,
    peaks: Centers,
    settings: GroupingSettings,
) -> tuple[Centers, Tensor]:
    """Centers where offsets vanish (appendix: center clustering), and their positions in the list of pixels.

    Pixels of a component with |O(p)| < `cluster_magnitude`, O being the offsets, fall into 4-connected clusters; the
    centroid of a cluster is a center where |area - `cluster_area`| <= `cluster_tolerance`. Plainly, for one component:

        count, labels = connectedComponents((norm(offsets) < magnitude) & mask, connectivity=4)
        clusters = [labels == i for i in range(1, count)]
        centers = [centroid(cluster) for cluster in clusters if abs(cluster.sum() - area) <= tolerance]

    Differs from the paper: a clustered center needs a least score and, unless `cluster_distance` is null, distance from
    every peak of its component (official code). One on a peak is that peak and not added.
    """
    clusters = _clusters(offsets, pixels, len(components.classes), settings)
    height, width = components.ids.shape[-2:]
    ys, xs = clusters.yx.unbind(1)
    index = (components.images[clusters.component_id] * height + ys) * width + xs
    position = torch.searchsorted(pixels.index, index).clamp(max=max(len(pixels.index) - 1, 0))
    inside = (pixels.index[position] == index) & (pixels.component_id[position] == clusters.component_id)
    kept = inside & (scores[position] > settings.cluster_threshold)
    distance = (clusters.yx[:, None] - peaks.yx).float().square().sum(2).sqrt()  # (clusters, peaks)
    limit = -1.0 if settings.cluster_distance is None else settings.cluster_distance
    near = (distance <= limit) | (distance == 0)
    kept &= ~(near & (clusters.component_id[:, None] == peaks.component_id)).any(1)
    return Centers(clusters.component_id[kept], clusters.yx[kept]), position[kept]


def _clusters(offsets: tuple[Tensor, Tensor], pixels: Pixels, count: int, settings: GroupingSettings) -> Centers:
    """Centroids, cut to whole pixels, of the clusters of the right area; by component, then by first pixel."""
    dy, dx = offsets
    short = (dy.square().addcmul_(dx, dx) < settings.cluster_magnitude**2).nonzero()[:, 0]
    if not len(short):
        return Centers(short, short.new_zeros(0, 2))
    sheet = _sheet(short, pixels, count=count, gap=1)
    mask = (sheet < len(short)).byte().cpu().numpy()
    labels = cv2.connectedComponents(mask, connectivity=4)[1].reshape(-1)
    areas = np.bincount(labels)
    fits = np.abs(areas - settings.cluster_area) < settings.cluster_tolerance + (not settings.cluster_exclusive)
    fits[0] = False  # what is in no cluster
    places = fits[labels].nonzero()[0]
    _, first, cluster, sizes = np.unique(labels[places], return_index=True, return_inverse=True, return_counts=True)
    members = short[sheet.flatten()[torch.from_numpy(places).to(short.device)]]
    yx = [np.bincount(cluster, axis[members].cpu().numpy(), len(sizes)) // sizes for axis in (pixels.ys, pixels.xs)]
    order = np.argsort(first)
    first, yx = (torch.from_numpy(values[order]).to(short.device) for values in (first, np.stack(yx, 1)))
    return Centers(pixels.component_id[members[first]], yx.long())


def with_centroids(centers: Centers, pixels: Pixels, count: int) -> Centers:
    """The centers, and the centroid of each component that has pixels but no center."""
    has_pixels, has_center = (
        torch.bincount(ids, minlength=count) > 0 for ids in (pixels.component_id, centers.component_id)
    )
    without = (has_pixels & ~has_center).nonzero()[:, 0]
    added = centroids(pixels, count)[without]
    return Centers(torch.cat([centers.component_id, without]), torch.cat([centers.yx, added]))
