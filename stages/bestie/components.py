"""Connected components of the classes of semantic maps, and their pixels as flat lists.

A pixel has one class, so the components of all classes share one map of ids; those of a batch are numbered on from
image to image. What follows works on the list of the components' pixels, never on a map per component.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Components(NamedTuple):
    """N connected components of the maps of B images.

    Attributes:
        ids: (B, H, W) int32; 0: none, 1 + n: component n of the batch. One may have no pixel (cut off by a crop).
        images, classes: (N,) int64, of each component.
    """

    ids: Tensor
    images: Tensor
    classes: Tensor

    def to(self, device: torch.device) -> "Components":
        """The same on a device."""
        return Components(*(tensor.to(device, non_blocking=True) for tensor in self))


class Pixels(NamedTuple):
    """All P pixels of the components of a batch, row by row, image by image; all (P,) int64.

    Attributes:
        index: ascending, into the flattened (B, H, W) map.
        component_id: 0 to N - 1.
        images, ys, xs: where it is.
    """

    index: Tensor
    component_id: Tensor
    images: Tensor
    ys: Tensor
    xs: Tensor


def batched(components: Sequence[tuple[np.ndarray, np.ndarray]]) -> Components:
    """Components of images of one size, (ids, classes) each as `class_components` gives them, as one batch."""
    counts = [len(classes) for _, classes in components]
    starts = np.cumsum([0, *counts[:-1]])
    ids = np.stack([ids for ids, _ in components])
    for plane, start in zip(ids, starts, strict=True):
        np.add(plane, start, out=plane, where=plane > 0, casting="same_kind")
    return Components(
        ids=torch.from_numpy(ids),
        images=torch.from_numpy(np.repeat(np.arange(len(components)), counts)),
        classes=torch.from_numpy(np.concatenate([classes for _, classes in components]).astype(np.int64)),
    )


def pixels_of(components: Components) -> Pixels:
    """The pixels (P,) of all components."""
    height, width = components.ids.shape[-2:]
    flat = components.ids.reshape(-1)
    index = flat.nonzero()[:, 0]
    component_id = flat.index_select(0, index).long() - 1
    images = components.images.index_select(0, component_id)
    rows = index.div(width, rounding_mode="floor")  # of the images one below the other
    return Pixels(index, component_id, images, rows - images * height, index - rows * width)


def values_at(maps: Tensor, channels: Tensor, pixels: Pixels) -> Tensor:
    """Values (P,) float32 of maps (B, C, H, W) at the pixels, each in the channel of its component, `channels` (N,).

    The same as `maps[pixels.images, channels[pixels.component_id], pixels.ys, pixels.xs].float()`, but faster.
    """
    count, area = maps.shape[1], maps.shape[-2] * maps.shape[-1]
    # index = image * area + place; and in the maps: (image * count + channel) * area + place
    shift = pixels.images * ((count - 1) * area) + channels.index_select(0, pixels.component_id) * area
    return maps.reshape(-1).index_select(0, shift + pixels.index).float()


def offsets_at(offsets: Tensor, components: Components, pixels: Pixels) -> tuple[Tensor, Tensor]:
    """Offsets dy (P,) and dx (P,), float32, from maps (B, 2, H, W)."""
    zeros = torch.zeros_like(components.classes)
    return values_at(offsets, zeros, pixels), values_at(offsets, zeros + 1, pixels)


def id_map(pixels: Pixels, instance_id: Tensor, *, count: int, size: torch.Size) -> Tensor:
    """Map (B, H, W) int32 of `size`; 0: none, 1 + i: instance i; from each pixel's instance (P,), `count` for none."""
    flat = torch.zeros(size.numel(), dtype=torch.int32, device=instance_id.device)
    ids = torch.where(instance_id < count, instance_id + 1, 0)
    return flat.scatter_(0, pixels.index, ids.int()).reshape(size)


def centroids(pixels: Pixels, count: int) -> Tensor:
    """Mean pixel index (y, x) of each component, cut to whole numbers as in the official code, (count, 2) int64.

    Zeros for a component without pixels.
    """
    areas = torch.bincount(pixels.component_id, minlength=count).clamp(min=1)
    sums = [areas.new_zeros(count).scatter_add_(0, pixels.component_id, axis) for axis in (pixels.ys, pixels.xs)]
    return torch.stack(sums, 1) // areas[:, None]
