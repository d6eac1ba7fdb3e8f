"""HEG: proposals from a hierarchy ensemble and geodesic level sets, without labels or learned weights.

1. Superpixels (Felzenszwalb and Huttenlocher, IJCV 2004), an edge map, colour and texture histograms.
2. One greedy merge tree per colour space and criterion; every node is a region.
3. The order in which the trees join two neighbours, averaged over trees, is a boundary strength; with the edge map it
   weighs the superpixel graph, whose geodesic level sets around seeds are further regions.
4. A label-free score ranks the unique regions; near-duplicates are suppressed.
"""

from typing import NamedTuple

import cv2
import numpy as np

from stages.proposals import geodesic, merging, ranking
from stages.proposals.features import describe_pixels
from stages.proposals.partition import partition
from stages.proposals.settings import HegSettings
from stages.proposals.superpixels import Superpixels, describe_superpixels


class Candidates(NamedTuple):
    """Regions of one image as unions of superpixels, best first.

    Attributes:
        labels: (H, W) int32 superpixel of each pixel, 0..S-1.
        regions: (N, S) bool, N >= 1, unique rows, no empty one.
        scores: (N,) float32, descending.
    """

    labels: np.ndarray
    regions: np.ndarray
    scores: np.ndarray


def propose(rgb: np.ndarray, settings: HegSettings) -> Candidates:
    """Proposals of an (H, W, 3) uint8 image, at most `settings.count`.

    An image without any structure has one proposal: the whole image.
    """
    height, width = rgb.shape[:2]
    small = shrink(rgb, settings.longer_side)
    labels = partition(small, scale=settings.base_scale, sigma=settings.base_sigma, min_size=settings.base_min_size)
    superpixels = describe_superpixels(labels, describe_pixels(small, edge_sigmas=settings.edge_sigmas))
    regions = pool(superpixels, settings)
    pairs = ranking.overlapping(regions, superpixels.areas, above=min(float(ranking.AGREEMENT_IOU), settings.overlap))
    scores = ranking.scores(regions, superpixels, pairs, settings.ranking)
    kept = ranking.suppress(scores, pairs, overlap=settings.overlap, count=settings.count)
    if small.shape != rgb.shape:
        labels = enlarge(labels, height, width)
    return Candidates(labels, regions[kept], scores[kept])


def shrink(rgb: np.ndarray, longer_side: int) -> np.ndarray:
    """The image, area-averaged so that its longer side is at most `longer_side` pixels."""
    factor = longer_side / max(rgb.shape[:2])
    if factor >= 1:
        return rgb
    height, width = (max(1, round(side * factor)) for side in rgb.shape[:2])
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)


def enlarge(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Labels (h, w) at (height, width) by nearest neighbour; no label is lost when no side shrinks."""
    rows = (np.arange(height) * labels.shape[0]) // height
    columns = (np.arange(width) * labels.shape[1]) // width
    return labels[rows[:, None], columns]


def pool(superpixels: Superpixels, settings: HegSettings) -> np.ndarray:
    """(N, S) bool unique regions of admissible area from trees and level sets; without any, the whole image."""
    count = len(superpixels.areas)
    whole = np.ones((1, count), dtype=bool)
    if count == 1:
        return whole
    trees = [
        merging.merge_tree(superpixels, space=space, criterion=merging.CRITERIA[name])
        for space in settings.spaces
        for name in settings.criteria
    ]
    regions = np.concatenate(
        [np.eye(count, dtype=bool)]
        + [merging.members(tree, count) for tree in trees]
        + [_geodesic_regions(superpixels, trees, settings)]
    )
    # Whole numbers below 2^24 are exact in float32, whatever the order of summation.
    shares = regions.astype(np.float32) @ superpixels.areas.astype(np.float32) / superpixels.labels.size
    regions = unique(regions[(shares >= settings.min_area) & (shares <= settings.max_area)])
    return regions if len(regions) else whole


def unique(regions: np.ndarray) -> np.ndarray:
    """The different rows of (N, S) bool, in order of first appearance."""
    first: dict[bytes, int] = {}
    for i, row in enumerate(np.packbits(regions, axis=1)):
        first.setdefault(row.tobytes(), i)
    return regions[list(first.values())]


def _geodesic_regions(superpixels: Superpixels, trees: list[np.ndarray], settings: HegSettings) -> np.ndarray:
    order = np.mean([merging.joining_order(tree, superpixels.pairs) for tree in trees], axis=0, dtype=np.float64)
    edge = np.minimum(superpixels.edges.astype(np.float64), 1)
    share = settings.order_share
    weights = share * order**settings.order_power + (1 - share) * edge**2 + settings.step_cost
    return geodesic.level_sets(
        geodesic.graph(superpixels.pairs, weights, len(superpixels.areas)),
        superpixels.areas / superpixels.labels.size,
        superpixels.border > 0,
        settings.seeds,
        settings.levels,
        settings.border_pull,
        settings.min_area,
        settings.max_area,
    )
