"""Instances of one tile, placed in the whole image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.core.artifacts.instances import Instances
from stages.ops.regions import Regions
from stages.ops.windows import Window, WindowedMask


@dataclass(frozen=True, eq=False)
class Piece:
    """One instance of a tile, whose mask is kept as bits.

    Attributes:
        tile: window of the tile in the image.
        window: tight window of the mask in the image.
        bits: the mask's pixels in it, packed by np.packbits.
        area: its pixels.
        label: class.
        score: confidence.
        cut: whether the mask reaches a border of the tile that is none of the image.
        box: predicted box (4,) (x0, y0, x1, y1) in the image; None: the method predicts none.
    """

    tile: Window
    window: Window
    bits: np.ndarray
    area: int
    label: int
    score: float
    cut: bool
    box: np.ndarray | None

    @property
    def mask(self) -> WindowedMask:
        """The mask in the image."""
        _, _, height, width = self.window
        pixels = np.unpackbits(self.bits, count=height * width).view(bool).reshape(height, width)
        return WindowedMask(self.window.y, self.window.x, pixels)


@dataclass(frozen=True, eq=False)
class TileInstances:
    """The instances of a tile that have pixels, and the regions of their masks, as far as neighbours are compared."""

    window: Window
    regions: Regions
    pieces: list[Piece]


def place(found: Instances, window: Window, height: int, width: int) -> TileInstances:
    """Place a tile's instances in an image (height, width). Raises ValueError where they are of another size."""
    regions = found.regions
    if regions.shape != (window.height, window.width):
        raise ValueError(
            f"tile {found.image!r} has {window.height}x{window.width} pixels, its instances have "
            f"{regions.shape[0]}x{regions.shape[1]}; remake them from the same tiles"
        )
    boxes, areas = regions.boxes(), regions.areas()
    kept = np.flatnonzero(areas > 0)
    pieces = []
    for i in kept.tolist():
        x0, y0, x1, y1 = boxes[i].tolist()
        mask = Window(window.y + y0, window.x + x0, y1 - y0, x1 - x0)
        pieces.append(
            Piece(
                tile=window,
                window=mask,
                bits=np.packbits(regions.membership[i][regions.atoms[y0:y1, x0:x1]]),
                area=int(areas[i]),
                label=int(found.classes[i]),
                score=float(found.scores[i]),
                cut=_is_cut(mask, window, height, width),
                box=None if found.boxes is None else found.boxes[i] + np.array([window.x, window.y] * 2, np.float32),
            )
        )
    return TileInstances(window, regions.select(kept, compact=False), pieces)


def _is_cut(mask: Window, tile: Window, height: int, width: int) -> bool:
    """Whether a mask reaches a border of its tile that is none of the image."""
    return (
        mask.y == tile.y > 0
        or mask.x == tile.x > 0
        or mask.y + mask.height == tile.y + tile.height < height
        or mask.x + mask.width == tile.x + tile.width < width
    )
