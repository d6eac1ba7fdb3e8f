"""What the network learns: center heatmaps, offsets and weights, first from pseudo labels."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.components import Components, Pixels, centroids, pixels_of


class Targets(NamedTuple):
    """Target maps of a batch (section 3.2) and where they count (section 3.4).

    Attributes:
        heatmap: (B, C, H, W) float32, 1 at the center of an instance of the class, falling to 0 around it.
        offsets: (B, 2, H, W) float32, (dy, dx) from a pixel to the center of its instance, in pixels; 0 without one.
        weights: (B, H, W) float32 in [0, 1], how sure a pixel's instance is; 0 without one.
    """

    heatmap: Tensor
    offsets: Tensor
    weights: Tensor


class Points(NamedTuple):
    """P points of a batch: `yx` (P, 2) int64, the pixel (y, x), `images` (P,) int64 and `classes` (P,) int64."""

    yx: Tensor
    images: Tensor
    classes: Tensor

    def to(self, device: torch.device) -> "Points":
        """The same on a device."""
        return Points(*(tensor.to(device, non_blocking=True) for tensor in self))

    @classmethod
    def of_image(cls, yx: np.ndarray, classes: np.ndarray) -> "Points":
        """Those of one image, `yx` (P, 2) whole or fractional and `classes` (P,): the pixels that hold them."""
        return cls(
            yx=torch.from_numpy(np.floor(yx).astype(np.int64)),
            images=torch.zeros(len(yx), dtype=torch.int64),
            classes=torch.from_numpy(classes.astype(np.int64)),
        )


def chosen_targets(by_points: Tensor, from_points: Callable[[], Targets], from_cues: Callable[[], Targets]) -> Targets:
    """Targets of a batch in which people set the cues of some images: those from points for these, the others' else.

    Args:
        by_points: (B,) bool.
        from_points: makes the targets of all images by the rules of point supervision; not asked where it has none.
        from_cues: the same by the rules of image tags.
    """
    if by_points.all():
        return from_points()
    if not by_points.any():
        return from_cues()
    pairs = zip(from_points(), from_cues(), strict=True)
    return Targets(*(torch.where(by_points.view(-1, *[1] * (one.dim() - 1)), one, other) for one, other in pairs))


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
    centers = centroids(pixels, count)
    weights = torch.zeros(count, device=centers.device).index_fill_(0, pixels.component_id, 1.0)
    visible = weights > 0
    if points is None:
        points = Points(centers[visible], accepted.images[visible], accepted.classes[visible])
    size = torch.Size((len(accepted.ids), class_count, *accepted.ids.shape[1:]))
    offsets, weight_map = instance_maps(
        pixels, pixels.component_id, centers=centers, weights=weights, size=accepted.ids.shape
    )
    return Targets(center_heatmap(points, size=size, sigma=sigma), offsets, weight_map)


def instance_maps(
    pixels: Pixels, instance_id: Tensor, *, centers: Tensor, weights: Tensor, size: torch.Size
) -> tuple[Tensor, Tensor]:
    """Offsets (B, 2, H, W) and weights (B, H, W), float32, of M instances; 0 where there is none.

        O(p) = c_n - p,  W(p) = w_n    for the pixels p of instance n

    Args:
        pixels: P of the batch.
        instance_id: (P,) int64, instance of each pixel; M for none.
        centers: (M, 2) int64 (y, x), where the offsets of an instance's pixels point.
        weights: (M,) float32.
        size: (B, H, W).
    """
    batch, height, width = size
    area = height * width
    index = pixels.index + pixels.images * area  # of two planes per image
    labelled = (instance_id < len(centers)).float()
    offsets = weights.new_zeros(batch * 2 * area)
    for axis, own in enumerate((pixels.ys, pixels.xs)):
        center = functional.pad(centers[:, axis], (0, 1)).index_select(0, instance_id)
        offsets.scatter_(0, index + axis * area, (center - own) * labelled)
    weight_map = weights.new_zeros(batch * area)
    weight_map.scatter_(0, pixels.index, functional.pad(weights, (0, 1)).index_select(0, instance_id))
    return offsets.reshape(batch, 2, height, width), weight_map.reshape(batch, height, width)


def center_heatmap(points: Points, *, size: torch.Size, sigma: float) -> Tensor:
    """Class-wise Gaussians of height 1 on a map (B, C, H, W) float32, merged by maximum (section 3.2).

        C_k(p) = max_n exp(-|p - c_n|^2 / (2 sigma^2))    over the points c_n of class k

    A Gaussian is cut to a square of side 6 sigma + 3 and at the border; one whose center is outside is not drawn
    (official code). For any sigma the square reaches int(3 sigma) + 1 pixels to each side.
    Plain form: `gaussian_map` in tests/bestie/reference.py.
    """
    # P points inside, S: side of the square
    _, class_count, height, width = size
    ys, xs = points.yx.unbind(1)
    # Places of the pixels are asked for once: a GPU waits at each mask that is indexed with.
    inside = ((ys >= 0) & (ys < height) & (xs >= 0) & (xs < width)).nonzero()[:, 0]
    reach = int(3 * sigma) + 1
    steps = torch.arange(-reach, reach + 1, device=ys.device)
    profile = (-(steps**2) / (2 * sigma**2)).exp().float()  # (S,)
    rows, columns = ys[inside, None] + steps, xs[inside, None] + steps  # (P, S)
    within = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]  # (P, S, S)
    planes = (points.images[inside] * class_count + points.classes[inside])[:, None, None]
    index = (planes * height + rows[:, :, None]) * width + columns[:, None]  # (P, S, S)
    values = (profile[:, None] * profile).expand(index.shape)
    if ys.is_cuda:
        flat = torch.zeros(size.numel(), device=ys.device)
    else:  # most of these maps stay empty: NumPy's zeros cost nothing until they are read
        flat = torch.from_numpy(np.zeros(size.numel(), np.float32))
    places = within.nonzero(as_tuple=True)
    flat.scatter_reduce_(0, index[places], values[places], "amax")
    return flat.reshape(size)
