"""What the network learns: center maps, offsets and weights, and the pseudo labels that they are first made from."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.components import Components, Pixels, centroids, class_components, pixels_of


class Targets(NamedTuple):
    """Wanted maps of a batch (section 3.2) and where they count (section 3.4).

    Attributes:
        centers: (B, C, H, W) float32, 1 at the center of an instance of the class, falling to 0 around it.
        offsets: (B, 2, H, W) float32, (dy, dx) from a pixel to the center of its instance, in pixels; 0 without one.
        weights: (B, H, W) float32 in [0, 1], how sure a pixel's instance is; 0 without one.
    """

    centers: Tensor
    offsets: Tensor
    weights: Tensor


class Transferred(NamedTuple):
    """Accepted components of one image, fields of `PseudoInstances`; all NumPy."""

    instances: np.ndarray
    classes: np.ndarray
    centroids: np.ndarray
    candidates: int


class Points(NamedTuple):
    """P points of a batch: `places` (P, 2) int64 (y, x), `images` (P,) int64 and `classes` (P,) int64."""

    places: Tensor
    images: Tensor
    classes: Tensor

    def to(self, device: torch.device) -> "Points":
        """The same on a device."""
        return Points(*(part.to(device, non_blocking=True) for part in self))


def transfer(
    labels: np.ndarray, points: np.ndarray, point_classes: np.ndarray, *, tags: np.ndarray, min_area: int
) -> Transferred:
    """Semantic knowledge transfer (section 3.3): parts of a tagged class with exactly one cue of it are instances.

    Of a whole image or of a crop; where `data.accepted_on` is crop, training asks anew for each crop (official).

    Args:
        labels: (H, W) uint8 semantic map, 255 uncertain.
        points: (P, 2) (y, x), whole or fractional; a cue lies in the pixel that holds it, one outside lies in none.
        point_classes: (P,) integers.
        tags: (C,) bool.
        min_area: pixels; smaller parts are no candidates.

    Returns:
        instances (H, W) int32, classes (A,) int32, centroids (A, 2) float32 and the number of candidates.
    """
    if points.shape != (len(point_classes), 2):
        raise ValueError(f"points are {points.shape} for {len(point_classes)} classes, expected (points, 2) as (y, x)")
    ids, classes = class_components(labels, wanted=tags, min_area=min_area)
    pixels = np.floor(points).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < labels.shape)).all(1)
    owners = ids[tuple(pixels[inside].T)] - 1
    # classes[-1] of a point in no component: left out by the first condition
    owners = owners[(owners >= 0) & (np.append(classes, -1)[owners] == point_classes[inside])]
    accepted = np.bincount(owners, minlength=len(classes)) == 1
    numbers = np.append(0, np.where(accepted, np.cumsum(accepted), 0)).astype(np.int32)
    instances = numbers[ids]
    return Transferred(instances, classes[accepted], _means(instances, int(accepted.sum())), len(classes))


def _means(instances: np.ndarray, count: int) -> np.ndarray:
    """Mean pixel index (y, x) of each of the parts 1 to count, (count, 2) float32."""
    ys, xs = instances.nonzero()
    owners = instances[ys, xs] - 1
    areas = np.bincount(owners, minlength=count)
    sums = [np.bincount(owners, weights=axis, minlength=count) for axis in (ys, xs)]
    return (np.stack(sums, 1) / areas[:, None]).astype(np.float32)


def pseudo_targets(accepted: Components, *, points: Points | None, class_count: int, sigma: float) -> Targets:
    """Maps of accepted components: weight 1, offsets to the centroid, Gaussians there (section 3.3).

    The centroid is that of the part which is visible, cut to whole pixels (official code).

    Args:
        accepted: of the batch; from `transfer` on each crop, or on whole images and then cropped.
        points: point supervision: Gaussians at all of these instead (official code); None: image tags.
        class_count: C.
        sigma: of a Gaussian, pixels.
    """
    pixels = pixels_of(accepted)
    count = len(accepted.classes)
    middles = centroids(pixels, count)
    weights = torch.zeros(count, device=middles.device).index_fill_(0, pixels.owners, 1.0)
    seen = weights > 0
    drawn = points or Points(middles[seen], accepted.images[seen], accepted.classes[seen])
    size = torch.Size((len(accepted.ids), class_count, *accepted.ids.shape[1:]))
    offsets, weight_map = instance_maps(
        pixels, pixels.owners, centers=middles, weights=weights, size=accepted.ids.shape
    )
    return Targets(center_map(drawn, size=size, sigma=sigma), offsets, weight_map)


def instance_maps(
    pixels: Pixels, owners: Tensor, *, centers: Tensor, weights: Tensor, size: torch.Size
) -> tuple[Tensor, Tensor]:
    """Offsets (B, 2, H, W) and weights (B, H, W), float32, of M instances; 0 where there is none.

    Args:
        pixels: of the batch.
        owners: (P,) int64, instance of each pixel; M for none.
        centers: (M, 2) int64 (y, x), where the offsets of an instance's pixels point.
        weights: (M,) float32.
        size: (B, H, W).
    """
    batch, height, width = size
    area = height * width
    first = pixels.places + pixels.images * area  # of two planes an image
    labelled = (owners < len(centers)).float()
    offsets = weights.new_zeros(batch * 2 * area)
    for axis, own in enumerate((pixels.ys, pixels.xs)):
        ends = functional.pad(centers[:, axis], (0, 1)).index_select(0, owners)
        offsets.scatter_(0, first + axis * area, (ends - own) * labelled)
    weight_map = weights.new_zeros(batch * area)
    weight_map.scatter_(0, pixels.places, functional.pad(weights, (0, 1)).index_select(0, owners))
    return offsets.reshape(batch, 2, height, width), weight_map.reshape(batch, height, width)


def center_map(points: Points, *, size: torch.Size, sigma: float) -> Tensor:
    """Class-wise Gaussians of height 1 on a map (B, C, H, W) float32, merged by maximum (section 3.2).

    A Gaussian is cut to a square of side 6 sigma + 3 and at the border; one whose center is outside is not drawn
    (official code). For any sigma the square reaches int(3 sigma) + 1 pixels to each side.
    """
    _, class_count, height, width = size
    ys, xs = points.places.unbind(1)
    inside = (ys >= 0) & (ys < height) & (xs >= 0) & (xs < width)
    reach = int(3 * sigma) + 1
    steps = torch.arange(-reach, reach + 1, device=ys.device)
    profile = (-(steps**2) / (2 * sigma**2)).exp().float()
    rows, columns = ys[inside, None] + steps, xs[inside, None] + steps  # (P, side)
    within = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
    planes = (points.images[inside] * class_count + points.classes[inside])[:, None, None]
    places = (planes * height + rows[:, :, None]) * width + columns[:, None]
    values = (profile[:, None] * profile).expand(places.shape)
    if ys.is_cuda:
        flat = torch.zeros(size.numel(), device=ys.device)
    else:  # most of these maps stay empty: NumPy's zeros cost nothing until they are read
        flat = torch.from_numpy(np.zeros(size.numel(), np.float32))
    flat.scatter_reduce_(0, places[within], values[within], "amax")
    return flat.reshape(size)
