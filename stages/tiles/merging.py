"""Instances of a whole image from those of its tiles, whatever the order of the tiles."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stages.ops.windows import WindowedMask
from stages.tiles.joining import agreement, bridged
from stages.tiles.pieces import Piece, TileInstances
from stages.tiles.settings import TilesSettings


@dataclass(frozen=True, eq=False)
class Merged:
    """Instances of a whole image, best first.

    Attributes:
        masks: N masks, none empty.
        classes: (N,) int32.
        scores: (N,) float32, descending.
        boxes: (N, 4) float32, those of the tiles around each other; None: the method predicts none.
        pieces: how many instances of tiles there were.
        absorbed: how many of them were dropped, as a larger one of a neighbouring tile holds them.
    """

    masks: list[WindowedMask]
    classes: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray | None
    pieces: int
    absorbed: int


def merge(tiles: Iterable[TileInstances], settings: TilesSettings) -> Merged:
    """Join what the tiles of an image have of the same objects.

    An object's score is the highest of its masks. Where tiles overlap, one mask decides: one that its tile's border
    does not cut before one that it cuts, then that of the higher score, then the larger.

    Args:
        tiles: by rows, then by columns, of their windows; only those that can still have neighbours are kept.
        settings: when masks are one object.
    """
    pieces: list[Piece] = []
    parents: list[int] = []
    absorbed: set[int] = set()
    recent: list[tuple[int, TileInstances]] = []
    for tile in tiles:
        start = len(pieces)
        recent = [(at, one) for at, one in recent if one.window.y + one.window.height >= tile.window.y]
        pieces += tile.pieces
        parents += range(start, len(pieces))
        seen = [one.window for _, one in recent]
        for at, other in recent:
            if bridged(other.window, tile.window, seen):
                continue
            said = agreement(other, tile, settings)
            for i, j in said.joined:
                _unite(parents, at + i, start + j)
            absorbed.update((at, start)[which] + i for which, i in said.absorbed)
        recent.append((start, tile))
    groups: dict[int, list[int]] = {}
    for i in range(len(pieces)):
        groups.setdefault(_root(parents, i), []).append(i)
    kept = [[pieces[i] for i in group] for group in groups.values() if len(group) > 1 or group[0] not in absorbed]
    kept.sort(key=lambda group: -max(piece.score for piece in group))
    return _merged(kept[: settings.max_instances], len(pieces), len(groups) - len(kept))


def _merged(groups: list[list[Piece]], pieces: int, absorbed: int) -> Merged:
    predicted = bool(groups) and groups[0][0].box is not None
    boxes = [_around(group) for group in groups] if predicted else None
    return Merged(
        masks=[one_mask(group) for group in groups],
        classes=np.array([group[0].label for group in groups], np.int32),
        scores=np.array([max(piece.score for piece in group) for group in groups], np.float32),
        boxes=None if boxes is None else np.array(boxes, np.float32),
        pieces=pieces,
        absorbed=absorbed,
    )


def one_mask(pieces: list[Piece]) -> WindowedMask:
    """The mask of an object from those of tiles: at each pixel the first in rank decides whose tile has it."""
    if len(pieces) == 1:
        return pieces[0].mask
    windows = np.array([piece.window for piece in pieces])
    (y, x), (bottom, right) = windows[:, :2].min(axis=0), (windows[:, :2] + windows[:, 2:]).max(axis=0)
    pixels = np.zeros((bottom - y, right - x), bool)
    around = WindowedMask(int(y), int(x), pixels).window
    for piece in sorted(pieces, key=lambda piece: (not piece.cut, piece.score, piece.area)):
        pixels[piece.tile.common(around).seen_from(around).slices] = False
        mask = piece.mask
        pixels[mask.window.seen_from(around).slices] = mask.pixels
    return WindowedMask.of(pixels, int(y), int(x))


def _around(pieces: list[Piece]) -> np.ndarray:
    """The box (4,) around the pieces' boxes."""
    boxes = np.stack([piece.box for piece in pieces])
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def _root(parents: list[int], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


def _unite(parents: list[int], i: int, j: int) -> None:
    low, high = sorted((_root(parents, i), _root(parents, j)))
    parents[high] = low
