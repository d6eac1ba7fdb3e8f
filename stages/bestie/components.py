"""Connected components of the classes of semantic maps, and their pixels as flat lists.

A pixel has one class, so the components of all classes share one map of ids; those of a batch are numbered on from
image to image. What follows works on the list of the components' pixels, never on a map per component.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.core.artifacts.semantic_maps import UNCERTAIN
from stages.ops.components import label_components


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


def class_components(labels: np.ndarray, *, classes: np.ndarray, min_area: int) -> tuple[np.ndarray, np.ndarray]:
    """8-connected components of one image's classes (BESTIE section 3.3).

    Args:
        labels: (H, W) uint8, 0 background, 1 + k class k, 255 uncertain.
        classes: (C,) bool, which classes count (the image's tags).
        min_area: pixels; smaller components are left out.

    Returns:
        ids: (H, W) int32; 0: none, 1 + n: component n. The class of each component: (N,) int32 ascending; within a
        class by first pixel, row by row.

    Raises:
        ValueError: a label that no class has.
    """
    ids, component_classes = np.zeros(labels.shape, np.int32), []
    for label in _present_classes(labels, classes):
        mask = labels == 1 + label
        (ys, xs) = (mask.any(axis).nonzero()[0] for axis in (1, 0))
        box = np.s_[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
        ids_in_box, count = label_components(mask[box], connectivity=8, min_area=min_area)
        np.copyto(ids[box], ids_in_box + len(component_classes), where=ids_in_box > 0)
        component_classes += [label] * int(count)
    return ids, np.array(component_classes, np.int32)


def class_regions(labels: np.ndarray, *, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `class_components`, but all pixels of a class are one component, connected or not."""
    present = _present_classes(labels, classes)
    id_of_label = np.zeros(UNCERTAIN + 1, np.int32)
    id_of_label[1 + present] = np.arange(1, len(present) + 1)
    return id_of_label[labels], present.astype(np.int32)


def _present_classes(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Those of the classes (C,) bool that a semantic map shows, ascending; ValueError for a label that no class has."""
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ValueError(f"semantic map is {labels.dtype} {labels.shape}, expected uint8 (height, width)")
    present = np.bincount(labels.reshape(-1), minlength=UNCERTAIN + 1)[:UNCERTAIN] > 0
    if present[1 + len(classes) :].any():
        raise ValueError(
            f"semantic map has the label {int(present.nonzero()[0][-1])}, expected 0 to {len(classes)} (background and "
            f"{len(classes)} classes) or {UNCERTAIN} (uncertain); make it from the same list of classes"
        )
    return (present[1 : 1 + len(classes)] & classes).nonzero()[0]


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
