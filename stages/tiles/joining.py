"""Which masks of neighbouring tiles are of one object.

Two tiles are compared where both see the same pixels. Tiles that only touch are compared along their seam: the last
pixels of the one beside the first of the other.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stages.ops import overlaps
from stages.ops.windows import Window
from stages.tiles.pieces import TileInstances
from stages.tiles.settings import TilesSettings


@dataclass(frozen=True)
class Agreement:
    """What two tiles say of each other's masks.

    Attributes:
        joined: pairs of a mask of the first and one of the second tile that are one object; each in one pair at most.
        absorbed: (tile, mask) of those that the other tile's larger masks hold, tile 0 or 1.
    """

    joined: list[tuple[int, int]]
    absorbed: list[tuple[int, int]]


def agreement(first: TileInstances, second: TileInstances, settings: TilesSettings) -> Agreement:
    """Compare the masks of two tiles of an image; tiles that share neither pixels nor a seam have nothing to say."""
    seen = shared(first.window, second.window)
    if seen is None or not first.pieces or not second.pieces:
        return Agreement([], [])
    both, ours, theirs = _common_pixels(first, second, seen)
    labels = [np.array([piece.label for piece in tile.pieces]) for tile in (first, second)]
    both = both * (labels[0][:, None] == labels[1])
    joined = _best_pairs(overlaps.iou(both, ours, theirs), _score_gaps(first, second), settings.join_iou)
    if seen[0] != seen[1]:
        return Agreement(joined, [])  # along a seam no mask lies in another
    held = [(0, i) for i in _held(both, first, second, settings.absorb_share)]
    held += [(1, j) for j in _held(both.T, second, first, settings.absorb_share)]
    return Agreement(joined, held)


def shared(first: Window, second: Window) -> tuple[Window, Window] | None:
    """The pixels where two tiles are compared, of the first and of the second; None: they are not neighbours."""
    common = first.common(second)
    if not common.empty:
        return common, common
    if common.height == 0 and common.width > 0:
        above, below = common._replace(y=common.y - 1, height=1), common._replace(height=1)
        return (above, below) if first.y < second.y else (below, above)
    if common.width == 0 and common.height > 0:
        left, right = common._replace(x=common.x - 1, width=1), common._replace(width=1)
        return (left, right) if first.x < second.x else (right, left)
    return None


def bridged(first: Window, second: Window, others: Iterable[Window]) -> bool:
    """Whether two tiles only touch, and another tile sees both sides of their seam, so that it knows what joins there.

    Objects of one class that lie side by side would look like one along the seam alone.
    """
    seam = shared(first, second)
    if seam is None or seam[0] == seam[1]:
        return False
    return any(all(window.common(side) == side for side in seam) for window in others)


def _common_pixels(
    first: TileInstances, second: TileInstances, seen: tuple[Window, Window]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the tiles are compared: pixels of both (N, M), of the first's masks (N,), of the second's (M,), float64."""
    atoms, others = (
        tile.regions.atoms[window.seen_from(tile.window).slices]
        for tile, window in zip((first, second), seen, strict=True)
    )
    return overlaps.common_pixels(atoms, others).of_regions(first.regions.membership, second.regions.membership)


def _score_gaps(first: TileInstances, second: TileInstances) -> np.ndarray:
    scores = [np.array([piece.score for piece in tile.pieces]) for tile in (first, second)]
    return np.abs(scores[0][:, None] - scores[1])


def _best_pairs(iou: np.ndarray, gaps: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """Pairs (i, j) above the threshold, taken by falling IoU; of equal ones those of the nearest scores come first."""
    rows, columns = np.nonzero(iou > threshold)
    order = np.lexsort([columns, rows, gaps[rows, columns], -iou[rows, columns]])
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return list(pairs.items())


def _held(both: np.ndarray, tile: TileInstances, other: TileInstances, least: float) -> list[int]:
    """Masks of a tile that its border cuts and that a larger mask of the other tile holds, by `both` (N, M)."""
    areas = np.array([piece.area for piece in tile.pieces])
    others = np.array([piece.area for piece in other.pieces])
    cut = np.array([piece.cut for piece in tile.pieces])
    held = (both >= least * areas[:, None]) & (others > areas[:, None])
    return np.flatnonzero(held.any(axis=1) & cut).tolist()
