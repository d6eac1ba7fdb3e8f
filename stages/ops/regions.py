"""The region algebra: N regions of one image as atoms and a boolean membership matrix.

Atoms are the largest sets of pixels that no region cuts. Areas, intersections, overlaps and averages of regions
are then small matrix products, exact at any resolution. Arrays are NumPy or torch (CPU or CUDA) throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.ops import arrays, overlaps, partition
from stages.ops.arrays import Array, as_index, is_tensor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Regions:
    """N regions (sets of pixels that may overlap) of one image of H x W pixels.

    Attributes:
        atoms: (H, W) int32, atom of each pixel. The constructors number atoms by first appearance in row-major
            order; a pixel in no region belongs to an atom too.
        membership: (N, A) bool, which atoms make up each region. An all-False row is an empty region.
        sizes: (A,) int64, pixels of each atom.
    """

    atoms: Array
    membership: Array
    sizes: Array

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        if len({is_tensor(part) for part in (self.atoms, self.membership, self.sizes)}) > 1:
            raise ValueError("Regions: atoms, membership and sizes must be all NumPy arrays or all torch tensors")
        _require_shape(self.atoms, 2, "atoms", "(height, width)")
        _require_image(self.atoms, "atoms")
        _require_shape(self.membership, 2, "membership", "(regions, atoms)")
        _require_bool(self.membership, "membership")
        if tuple(self.sizes.shape) != (self.membership.shape[1],):
            found, atoms = tuple(self.sizes.shape), self.membership.shape[1]
            raise ValueError(f"Regions: sizes have shape {found}, expected ({atoms},) as membership has {atoms} atoms")

    @classmethod
    def from_masks(cls, masks: Array) -> Regions:
        """Regions from masks (N, H, W) bool; N = 0 and empty masks are welcome."""
        _require_shape(masks, 3, "masks", "(regions, height, width)")
        _require_bool(masks, "masks")
        _require_image(masks, "masks")
        count, height, width = masks.shape
        flat = masks.reshape(count, height * width)
        atoms, first = partition.equal_columns(flat)
        sizes = arrays.library(atoms).bincount(atoms)
        return cls(arrays.as_int32(atoms).reshape(height, width), arrays.columns(flat, first), sizes)

    @classmethod
    def from_superpixels(cls, labels: Array, indicator: Array) -> Regions:
        """Regions made of superpixels; superpixels of the same regions become one atom, unused ones vanish.

        Args:
            labels: (H, W) integers in [0, S), superpixel of each pixel.
            indicator: (N, S) bool, which superpixels make up each region.
        """
        _require_shape(labels, 2, "superpixel labels", "(height, width)")
        _require_image(labels, "superpixel labels")
        _require_shape(indicator, 2, "indicator", "(regions, superpixels)")
        _require_bool(indicator, "indicator")
        _require_within(labels, indicator.shape[1], "superpixel labels")
        group, first = partition.equal_columns(indicator)
        merged = group[as_index(labels).reshape(-1)]
        atoms, pixel, sizes = partition.unique(merged)
        membership = arrays.columns(indicator, first[merged[pixel]])
        return cls(arrays.as_int32(atoms).reshape(labels.shape), membership, sizes)

    @classmethod
    def from_packed(cls, atoms: np.ndarray, packed: np.ndarray, atom_count: int) -> Regions:
        """Regions from their stored form, as `packed` gives it; ValueError where the parts do not fit together."""
        atom_count = int(atom_count)
        width = -(-atom_count // 8)
        if packed.ndim != 2 or packed.dtype != np.uint8 or packed.shape[1] != width:
            raise ValueError(
                f"Regions: packed membership is {packed.dtype} of shape {packed.shape}, "
                f"expected uint8 (regions, {width}) for {atom_count} atoms"
            )
        _require_shape(atoms, 2, "atoms", "(height, width)")
        _require_image(atoms, "atoms")
        _require_within(atoms, atom_count, "atoms")
        # The same bytes: a large image has its atoms in memory once.
        atoms = atoms.view(np.int32) if atoms.dtype == np.uint32 else atoms.astype(np.int32)
        membership = np.unpackbits(packed, axis=1, count=atom_count).view(bool)
        return cls(atoms, membership, partition.areas(atoms, atom_count))

    @classmethod
    def empty(cls, height: int, width: int) -> Regions:
        """No region in an image of the given size: one atom, no rows."""
        return cls.from_masks(np.zeros((0, height, width), bool))

    def packed(self) -> tuple[np.ndarray, np.ndarray, int]:
        """NumPy arrays for storage: atoms (H, W) uint32, membership bits (N, ceil(A / 8)) uint8, atom count A."""
        regions = self.numpy()
        return (
            arrays.as_int32(regions.atoms).view(np.uint32),
            np.packbits(regions.membership, axis=1),
            len(regions.sizes),
        )

    def __len__(self) -> int:
        return len(self.membership)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        height, width = self.atoms.shape
        return int(height), int(width)

    def masks(self, index: Array | Sequence[int] | slice | None = None) -> Array:
        """Masks (n, H, W) bool of all regions, or of those that `index` (boolean, integers, slice) selects."""
        membership = self.membership if index is None else self.membership[index]
        return arrays.columns(membership, as_index(self.atoms))

    def areas(self) -> Array:
        """Pixels of each region, (N,) int64."""
        return arrays.where(self.membership, self.sizes[None], 0).sum(1)

    def boxes(self) -> Array:
        """Tight half-open boxes (N, 4) int32 (x0, y0, x1, y1); zeros for an empty region."""
        x0, y0, x1, y1 = partition.bounds(self.atoms, len(self.sizes)).T
        height, width = self.shape
        member, module = self.membership, arrays.library(self.membership)
        starts = [module.amin(arrays.where(member, edge, fill), 1) for edge, fill in ((x0, width), (y0, height))]
        ends = [module.amax(arrays.where(member, edge, 0), 1) for edge in (x1, y1)]
        return arrays.stack(starts + ends, 1) * member.any(1).reshape(-1, 1)

    def crops(self, size: int = 7) -> Array:
        """Each region cut to its tight box and resized by nearest neighbour, (N, size, size) bool; CIM's mask crop.

        Equal to cutting the mask and Pillow's `resize(..., NEAREST)`. An empty region gives an empty crop.
        """
        boxes = self.boxes()
        xs = _nearest(boxes[:, 0], boxes[:, 2], size)
        ys = _nearest(boxes[:, 1], boxes[:, 3], size)
        atoms = as_index(self.atoms[ys[:, :, None], xs[:, None, :]])
        return self.membership[arrays.arange(len(self), atoms)[:, None, None], atoms]

    def intersections(self, other: Regions | None = None) -> Array:
        """Common pixels of every region with every region of `other` (default: of itself), (N, M) int64."""
        return arrays.as_int64(self._counts(other))

    def iou(self, other: Regions | None = None) -> Array:
        """Intersection over union with every region of `other` (default: itself), (N, M) float32; 0 of two empty ones.

        Each value is the exact quotient, rounded once.
        """
        other = self if other is None else other
        return arrays.as_float32(overlaps.iou(self._counts(other), self.areas(), other.areas()))

    def containment(self) -> Array:
        """(N, N) float32, entry [i, j] = |i and j| / |j|: how much of j lies in i; 0 where j is empty."""
        return arrays.as_float32(overlaps.containment(self._counts(), self.areas()))

    def overlaps(self) -> tuple[Array, Array]:
        """`iou()` and `containment()` from one product."""
        counts, areas = self._counts(), self.areas()
        quotients = overlaps.iou(counts, areas, areas), overlaps.containment(counts, areas)
        return arrays.as_float32(quotients[0]), arrays.as_float32(quotients[1])

    def holding(self, points: Array) -> Array:
        """Which regions hold each of the points (P, 2) integer (y, x), (P, N) bool; ValueError for a point outside."""
        height, width = self.shape
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"Regions: points have shape {tuple(points.shape)}, expected (points, 2) as (y, x)")
        _require_within(points[:, 0], height, "y of points")
        _require_within(points[:, 1], width, "x of points")
        points = as_index(points)
        return arrays.columns(self.membership, self.atoms[points[:, 0], points[:, 1]]).T

    def mean_support(self, votes: Array, threshold: float) -> Regions:
        """Where the mean of some regions' masks exceeds a threshold (AGPL's support mask, CIM section 3.2).

        Args:
            votes: (P, N), one mean per row: bool, the regions to average, or their weights, 0 or more; none, no
                support.
            threshold: share of the votes in [0, 1] that must be exceeded.

        Returns:
            P regions on the same atoms, so their `iou` with this image's regions is one more product.
        """
        return Regions(self.atoms, self.support(votes) > threshold, self.sizes)

    def support(self, votes: Array) -> Array:
        """Mean of some regions' masks on each atom, (P, A) float64; `votes` as in `mean_support`, without any 0."""
        convert = arrays.as_float32 if arrays.is_bool(votes) else arrays.as_float64  # counts are exact in either
        won = arrays.as_float64(overlaps.product(convert(votes), convert(self.membership)))
        cast = arrays.as_float64(votes).sum(1)[:, None]
        return won / arrays.where(cast > 0, cast, 1.0)

    def select(self, index: Array | Sequence[int] | slice, *, compact: bool = True) -> Regions:
        """Some regions (boolean, integers with repeats, slice); `compact` merges the atoms that none of them cuts."""
        membership = self.membership[index]
        return _merged(self.atoms, membership, self.sizes) if compact else Regions(self.atoms, membership, self.sizes)

    def flip(self) -> Regions:
        """The mirror image, left and right exchanged."""
        mirrored = self.atoms.flip(1) if is_tensor(self.atoms) else self.atoms[:, ::-1]
        return Regions.from_superpixels(mirrored, self.membership)

    @staticmethod
    def concatenate(parts: Sequence[Regions]) -> Regions:
        """All regions of several sets for one image, in order, on the common refinement of their atoms."""
        if not parts:
            raise ValueError("Regions.concatenate: no parts given, so the size of the image is unknown")
        joined = parts[0]
        for part in parts[1:]:
            atoms, left, right, sizes = _refined(joined, part)
            joined = Regions(atoms, arrays.concatenate([left, right]), sizes)
        return _merged(joined.atoms, joined.membership, joined.sizes)

    def to(self, device: str | torch.device) -> Regions:
        """The same regions as torch tensors on a device."""
        import torch

        return Regions(*(torch.as_tensor(part, device=device) for part in (self.atoms, self.membership, self.sizes)))

    def numpy(self) -> Regions:
        """The same regions as NumPy arrays."""
        if isinstance(self.atoms, np.ndarray):
            return self
        return Regions(*(arrays.as_numpy(part) for part in (self.atoms, self.membership, self.sizes)))

    def _counts(self, other: Regions | None = None) -> Array:
        """Common pixels (N, M) as exact floats: float32 where that holds the image's pixels, else float64."""
        left, right, sizes = self.membership, self.membership, self.sizes
        if other is not None and other.atoms is self.atoms:
            right = other.membership
        elif other is not None:
            _require_same_image(self, other)
            if not is_tensor(self.atoms):  # runs of pairs of atoms are counted: no common refinement is drawn
                return overlaps.common_pixels(self.atoms, other.atoms).of_regions(left, other.membership)[0]
            _, left, right, sizes = _refined(self, other)
        pixels = overlaps.exact(sizes)
        return overlaps.product(left * pixels, arrays.like(right, pixels).T)


def _refined(left: Regions, right: Regions) -> tuple[Array, Array, Array, Array]:
    """Common refinement: atoms (H, W), both memberships on them, their sizes."""
    _require_same_image(left, right)
    old, new = left.atoms.reshape(-1), right.atoms.reshape(-1)
    atoms, pixel, sizes = partition.refine(old, new)
    ours, theirs = arrays.columns(left.membership, old[pixel]), arrays.columns(right.membership, new[pixel])
    return arrays.as_int32(atoms).reshape(left.shape), ours, theirs, sizes


def _require_same_image(left: Regions, right: Regions) -> None:
    if left.shape != right.shape:
        raise ValueError(f"Regions: images of {left.shape} and {right.shape} (height, width) have no common pixels")
    if is_tensor(left.atoms) != is_tensor(right.atoms):
        raise ValueError("Regions: one set is NumPy and the other torch; bring both to one with to() or numpy()")


def _merged(atoms: Array, membership: Array, sizes: Array) -> Regions:
    """Regions whose equal columns became one atom. Numbering by first column keeps that by first pixel."""
    group, first = partition.equal_columns(membership)
    merged = partition.renumbered(atoms, arrays.as_int32(group))
    return Regions(merged, arrays.columns(membership, first), arrays.total(sizes, group, len(first)))


def _nearest(start: Array, end: Array, size: int) -> Array:
    """Pixels (N, size) that Pillow's NEAREST reads when it resizes [start, end) to `size` pixels.

    Source: ImagingScaleAffine in Pillow's Geometry.c, which adds the step again and again. The sums round
    differently from products where a position falls on the border between two pixels.
    """
    step = arrays.as_float64(end - start) / size
    positions = [step * 0.5]
    for _ in range(size - 1):
        positions.append(positions[-1] + step)
    return as_index(arrays.stack(positions, 1)) + as_index(start)[:, None]


def _require_shape(array: Array, axes: int, name: str, meaning: str) -> None:
    if array.ndim != axes:
        raise ValueError(f"Regions: {name} have shape {tuple(array.shape)}, expected {meaning}")


def _require_image(array: Array, name: str) -> None:
    if 0 in array.shape[-2:]:
        raise ValueError(f"Regions: {name} of shape {tuple(array.shape)} hold an image without pixels")


def _require_bool(array: Array, name: str) -> None:
    if not arrays.is_bool(array):
        raise ValueError(f"Regions: {name} have type {array.dtype}, expected bool; state which values mean inside")


def _require_within(values: Array, limit: int, name: str) -> None:
    if len(values) and (int(values.min()) < 0 or int(values.max()) >= limit):
        span = f"{int(values.min())} to {int(values.max())}"
        raise ValueError(f"Regions: {name} go from {span}, expected 0 to {limit - 1}")
