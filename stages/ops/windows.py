"""Windows of an image, such as its tiles, and masks that are kept within their tight window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.ops import partition
from stages.ops.regions import Regions
from stages.ops.resize import nearest


class Window(NamedTuple):
    """A rectangle of pixels: first row and column, height and width; without pixels where a side is 0 or less."""

    y: int
    x: int
    height: int
    width: int

    @property
    def empty(self) -> bool:
        """Whether it has no pixel."""
        return self.height <= 0 or self.width <= 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """What cuts it from an array (H, W, ...)."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def common(self, other: Window) -> Window:
        """The pixels of both; sides may be negative where the two lie apart."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        bottom, right = (
            min(self.y + self.height, other.y + other.height),
            min(self.x + self.width, other.x + other.width),
        )
        return Window(y, x, bottom - y, right - x)

    def seen_from(self, other: Window) -> Window:
        """The same pixels, counted from the first pixel of `other`."""
        return Window(self.y - other.y, self.x - other.x, self.height, self.width)


def tiles(height: int, width: int, *, size: int, overlap: int) -> list[Window]:
    """Tiles that cover an image, row by row: squares of `size` pixels, smaller only where the image is.

    Neighbours share `overlap` pixels; the last of a row or column is moved back into the image, so that it shares more.
    What is at most `overlap` pixels high and wide lies in one tile at least.
    """
    return [
        Window(y, x, min(size, height), min(size, width))
        for y in _starts(height, size, overlap)
        for x in _starts(width, size, overlap)
    ]


def _starts(length: int, size: int, overlap: int) -> list[int]:
    last = max(length - size, 0)
    return [*range(0, last, size - overlap), last]


def widened(box: np.ndarray, factor: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a box (4,) whose sides are `factor` times as long about the same center, cut at the image.

    They hold at least one pixel, of whatever box.
    """
    centers, sides = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * factor
    low, high = np.floor(centers - sides / 2), np.ceil(centers + sides / 2) + 1
    columns, rows = (
        slice(int(np.clip(a, 0, side - 1)), int(np.clip(b, 1, side)))
        for a, b, side in zip(low, high, shape[::-1], strict=True)
    )
    return rows, columns


@dataclass(frozen=True, eq=False)
class WindowedMask:
    """A mask of an image that may be large, as the bitmap of its tight window.

    Attributes:
        y: first row of the window.
        x: first column of the window.
        pixels: (rows, columns) bool; (0, 0) for an empty mask.
    """

    y: int
    x: int
    pixels: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray, y: int = 0, x: int = 0) -> WindowedMask:
        """From a mask (H, W) bool whose first pixel is (y, x) of the image."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return cls(0, 0, np.zeros((0, 0), bool))
        tight = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(y + int(rows[0]), x + int(columns[0]), tight.copy())

    @property
    def window(self) -> Window:
        """Where it lies in the image."""
        return Window(self.y, self.x, *self.pixels.shape)

    @property
    def area(self) -> int:
        """Its pixels."""
        return int(np.count_nonzero(self.pixels))

    def inside(self, window: Window) -> np.ndarray:
        """Its part in a window, (rows, columns) bool of the pixels that window and mask's window share."""
        common = self.window.common(window)
        if common.empty:
            return np.zeros((0, 0), bool)
        return self.pixels[common.seen_from(self.window).slices]

    def cut(self, window: Window) -> WindowedMask:
        """Its part in a window, as a mask of the image that the window is cut out as."""
        common = self.window.common(window).seen_from(window)
        return WindowedMask.of(self.inside(window), common.y, common.x)

    def full(self, height: int, width: int) -> np.ndarray:
        """The mask (height, width) bool of the whole image."""
        mask = np.zeros((height, width), bool)
        mask[self.window.slices] = self.pixels
        return mask


def windowed(regions: Regions, height: int, width: int) -> list[WindowedMask]:
    """The masks of regions at another size, (height, width), by nearest neighbour."""
    atoms = regions.atoms if regions.shape == (height, width) else nearest(regions.atoms, height, width)
    boxes = Regions(atoms, regions.membership, regions.sizes).boxes().tolist()
    return [
        WindowedMask.of(member[atoms[y0:y1, x0:x1]], y0, x0)
        for member, (x0, y0, x1, y1) in zip(regions.membership, boxes, strict=True)
    ]


def regions_of(masks: Sequence[WindowedMask], height: int, width: int) -> Regions:
    """Equal to `Regions.from_masks` of the full masks, in the memory of one atom map.

    Each mask splits the atoms that it cuts, within its window alone.
    """
    atoms = np.zeros((height, width), np.int32)
    members: list[list[int]] = [[]]
    sizes = [height * width]
    for number, mask in enumerate(masks):
        _split(atoms[mask.window.slices], mask.pixels, number, members, sizes)
    order = _by_first_pixel(atoms, len(members))
    atoms = partition.renumbered(atoms, np.argsort(order).astype(np.int32))
    membership = np.zeros((len(masks), len(order)), bool)
    for column, atom in enumerate(order.tolist()):
        membership[members[atom], column] = True
    return Regions(atoms, membership, np.array(sizes, np.int64)[order])


def _split(atoms: np.ndarray, pixels: np.ndarray, number: int, members: list[list[int]], sizes: list[int]) -> None:
    """Note that the pixels of a window belong to mask `number`; atoms that it cuts get a new part."""
    inside = atoms[pixels]
    counts = np.bincount(inside, minlength=len(members))
    changed = np.arange(len(members), dtype=np.int32)
    for atom in np.flatnonzero(counts).tolist():
        count = int(counts[atom])
        if count == sizes[atom]:
            members[atom].append(number)
            continue
        changed[atom] = len(members)
        members.append([*members[atom], number])
        sizes.append(count)
        sizes[atom] -= count
    atoms[pixels] = changed[inside]


def _by_first_pixel(atoms: np.ndarray, count: int) -> np.ndarray:
    """Atoms (count,) in the order of their first pixels in row-major order."""
    height, width = atoms.shape
    first = np.full(count, height * width, np.int64)
    for rows in partition.bands(height, width):
        flat = atoms[rows].reshape(-1)
        starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
        _, place, _ = partition.unique(flat[starts])
        found = starts[place]
        np.minimum.at(first, flat[found], rows.start * width + found)
    return np.argsort(first, kind="stable")
