"""The base partition: superpixels, their statistics and their neighbourhood."""

from typing import NamedTuple

import numpy as np
from numba import njit

from stages.proposals.features import COLOUR_BINS, TEXTURE_BINS, PixelFeatures


class Superpixels(NamedTuple):
    """A partition of an image into S connected superpixels with E neighbouring pairs.

    Attributes:
        labels: (H, W) int32, 0..S-1.
        areas: (S,) int64 pixels.
        boxes: (S, 4) int64 (x0, y0, x1, y1) half-open.
        colours: colour space name -> (S, 3 * COLOUR_BINS) float32 pixel counts.
        texture: (S, TEXTURE_BINS) float32 pixel counts.
        border: (S,) int64 pixel sides that lie on the border of the image.
        pairs: (E, 2) int32 neighbouring superpixels, first < second.
        lengths: (E,) float32 pixel sides that a pair shares.
        edges: (E,) float32 mean edge strength along the shared border.
    """

    labels: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    colours: dict[str, np.ndarray]
    texture: np.ndarray
    border: np.ndarray
    pairs: np.ndarray
    lengths: np.ndarray
    edges: np.ndarray


def describe_superpixels(labels: np.ndarray, pixels: PixelFeatures) -> Superpixels:
    """Statistics of a partition given as (H, W) int32 labels 0..S-1, each of them used."""
    count = int(labels.max()) + 1
    areas, boxes = _extents(labels, count)
    pairs, lengths, edges = _borders(labels, count, pixels.edges)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return Superpixels(
        labels=labels,
        areas=areas,
        boxes=boxes,
        colours={name: _channel_histograms(labels, count, bins) for name, bins in pixels.colours.items()},
        texture=_histogram(labels, count, pixels.texture),
        border=np.bincount(border, minlength=count),
        pairs=pairs,
        lengths=lengths,
        edges=edges,
    )


@njit(cache=True)
def _extents(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = labels.shape
    areas = np.zeros(count, np.int64)
    boxes = np.zeros((count, 4), np.int64)
    boxes[:, 0] = width
    boxes[:, 1] = height
    for y in range(height):
        for x in range(width):
            s = labels[y, x]
            areas[s] += 1
            boxes[s, 0] = min(boxes[s, 0], x)
            boxes[s, 1] = min(boxes[s, 1], y)
            boxes[s, 2] = max(boxes[s, 2], x + 1)
            boxes[s, 3] = max(boxes[s, 3], y + 1)
    return areas, boxes


@njit(cache=True)
def _channel_histograms(labels: np.ndarray, count: int, bins: np.ndarray) -> np.ndarray:
    height, width = labels.shape
    counts = np.zeros((count, 3 * COLOUR_BINS), np.float32)
    for y in range(height):
        for x in range(width):
            for channel in range(3):
                counts[labels[y, x], channel * COLOUR_BINS + bins[y, x, channel]] += 1
    return counts


@njit(cache=True)
def _histogram(labels: np.ndarray, count: int, bins: np.ndarray) -> np.ndarray:
    height, width = labels.shape
    counts = np.zeros((count, TEXTURE_BINS), np.float32)
    for y in range(height):
        for x in range(width):
            counts[labels[y, x], bins[y, x]] += 1
    return counts


def _borders(labels: np.ndarray, count: int, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbouring pairs (E, 2), their shared pixel sides (E,), and the mean edge strength over those sides (E,)."""
    sides = [(np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])]
    keys, strengths = [], []
    for here, there in sides:
        differ = labels[here] != labels[there]
        one, other = labels[here][differ].astype(np.int64), labels[there][differ].astype(np.int64)
        keys.append(np.minimum(one, other) * count + np.maximum(one, other))
        strengths.append((edges[here][differ].astype(np.float64) + edges[there][differ]) / 2)
    unique, row = np.unique(np.concatenate(keys), return_inverse=True)
    lengths = np.bincount(row, minlength=len(unique))
    totals = np.bincount(row, weights=np.concatenate(strengths), minlength=len(unique))
    pairs = np.stack([unique // count, unique % count], axis=1).astype(np.int32)
    return pairs, lengths.astype(np.float32), (totals / lengths).astype(np.float32)
