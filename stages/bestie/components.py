"""Connected parts of the classes of semantic maps, and their pixels as flat lists.

A pixel has one class, so the parts of all classes share one map of numbers; a batch of maps is one list of parts. What
follows works on the lists of the parts' pixels, never on a map for each part.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.core.artifacts.semantic_maps import UNCERTAIN
from stages.ops.components import label_components


class Components(NamedTuple):
    """N connected parts of the maps of B images.

    Attributes:
        ids: (B, H, W) int32; 0: none, 1 + n: part n of the batch. A part may have no pixel (cut off by a crop).
        images, classes: (N,) int64, of each part.
    """

    ids: Tensor
    images: Tensor
    classes: Tensor

    def to(self, device: torch.device) -> "Components":
        """The same on a device."""
        return Components(*(part.to(device, non_blocking=True) for part in self))


class Pixels(NamedTuple):
    """All P pixels of the parts of a batch, row by row, image by image; all (P,) int64.

    Attributes:
        places: ascending index into the flattened (B, H, W) map.
        owners: the part that the pixel belongs to.
        images, ys, xs: where it is.
    """

    places: Tensor
    owners: Tensor
    images: Tensor
    ys: Tensor
    xs: Tensor


def class_components(labels: np.ndarray, *, wanted: np.ndarray, min_area: int) -> tuple[np.ndarray, np.ndarray]:
    """8-connected parts of one image's classes (BESTIE section 3.3).

    Args:
        labels: (H, W) uint8, 0 background, 1 + k class k, 255 uncertain.
        wanted: (C,) bool, classes that count (the image's tags).
        min_area: pixels; smaller parts are left out.

    Returns:
        ids: (H, W) int32; 0: none, 1 + n: part n. classes: (N,) int32 ascending; within a class by first pixel, row by
        row.

    Raises:
        ValueError: a label that no class has.
    """
    ids, classes = np.zeros(labels.shape, np.int32), []
    for number in _present_classes(labels, wanted):
        mask = labels == 1 + number
        (ys, xs) = (mask.any(axis).nonzero()[0] for axis in (1, 0))
        box = np.s_[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
        found, count = label_components(mask[box], connectivity=8, min_area=min_area)
        np.copyto(ids[box], found + len(classes), where=found > 0)
        classes += [number] * int(count)
    return ids, np.array(classes, np.int32)


def class_regions(labels: np.ndarray, *, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `class_components`, but all pixels of a class are one part, connected or not."""
    present = _present_classes(labels, wanted)
    numbers = np.zeros(UNCERTAIN + 1, np.int32)
    numbers[1 + present] = np.arange(1, len(present) + 1)
    return numbers[labels], present.astype(np.int32)


def _present_classes(labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The wanted classes that a semantic map shows, ascending. Raises ValueError for a label that no class has."""
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ValueError(f"semantic map is {labels.dtype} {labels.shape}, expected uint8 (height, width)")
    present = np.bincount(labels.reshape(-1), minlength=UNCERTAIN + 1)[:UNCERTAIN] > 0
    if present[1 + len(wanted) :].any():
        raise ValueError(
            f"semantic map has the label {int(present.nonzero()[0][-1])}, expected 0 to {len(wanted)} (background and "
            f"{len(wanted)} classes) or {UNCERTAIN} (uncertain); make it from the same list of classes"
        )
    return (present[1 : 1 + len(wanted)] & wanted).nonzero()[0]


def stacked(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Components:
    """The parts (ids, classes) of images of one size, as `class_components` gives them, as one batch."""
    counts = [len(classes) for _, classes in parts]
    starts = np.cumsum([0, *counts[:-1]])
    ids = np.stack([part for part, _ in parts])
    for plane, start in zip(ids, starts, strict=True):
        np.add(plane, start, out=plane, where=plane > 0, casting="same_kind")
    return Components(
        ids=torch.from_numpy(ids),
        images=torch.from_numpy(np.repeat(np.arange(len(parts)), counts)),
        classes=torch.from_numpy(np.concatenate([classes for _, classes in parts]).astype(np.int64)),
    )


def pixels_of(components: Components) -> Pixels:
    """The pixels (P,) of all parts."""
    height, width = components.ids.shape[-2:]
    flat = components.ids.reshape(-1)
    places = flat.nonzero()[:, 0]
    owners = flat.index_select(0, places).long() - 1
    images = components.images.index_select(0, owners)
    rows = places.div(width, rounding_mode="floor")
    return Pixels(places, owners, images, rows - images * height, places - rows * width)


def values_at(maps: Tensor, planes: Tensor, pixels: Pixels) -> Tensor:
    """Values (P,) float32 of maps (B, C, H, W) at the pixels, each in the plane that its part has in `planes` (N,)."""
    area, channels = maps.shape[-2] * maps.shape[-1], maps.shape[1]
    starts = pixels.images * ((channels - 1) * area) + planes.index_select(0, pixels.owners) * area
    return maps.reshape(-1).index_select(0, starts + pixels.places).float()


def offsets_at(offsets: Tensor, components: Components, pixels: Pixels) -> tuple[Tensor, Tensor]:
    """Offsets dy (P,) and dx (P,), float32, from maps (B, 2, H, W)."""
    zeros = torch.zeros_like(components.classes)
    return values_at(offsets, zeros, pixels), values_at(offsets, zeros + 1, pixels)


def centroids(pixels: Pixels, count: int) -> Tensor:
    """Mean pixel index (y, x) of each part, cut to whole numbers as in the official code, (count, 2) int64.

    Zeros for a part without pixels.
    """
    areas = torch.bincount(pixels.owners, minlength=count).clamp(min=1)
    sums = [areas.new_zeros(count).scatter_add_(0, pixels.owners, axis) for axis in (pixels.ys, pixels.xs)]
    return torch.stack(sums, 1) // areas[:, None]
