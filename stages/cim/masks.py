"""Masks of the instances that were chosen, by votes of proposals and a dense CRF."""

import numpy as np

from stages.cim.settings import CimPredictionSettings
from stages.ops.crf import leaning, one_object_crf
from stages.ops.regions import Regions

TOUCHED = 0.05  # share of the votes from which on a pixel belongs to the window of the CRF
MARGIN = 0.15  # of the window's longer side, added on each side


def votes(
    regions: Regions, scores: np.ndarray, proposals: np.ndarray, classes: np.ndarray, *, overlap: float | None
) -> np.ndarray:
    """Share of the votes that each atom has in each of the K chosen instances, (K, A) float64.

        m_i(q) = sum_n w_{i,n} R_n(q) / sum_n w_{i,n},    w_{i,n} = s_{n,c_i} [ IoU(R_n, R_i) >= overlap ]

    q are pixels, R_n the proposals, R_i the one that was chosen, `proposals` (K,) of `classes` (K,); `scores` s (N, C)
    all that suppression saw, 0 or more. Without `overlap`, and where nothing has a score, only R_i votes.
    Differs from the paper: which of many proposals of nearly the same score is the best is chance; their common part is
    not.
    """
    own = regions.membership[proposals].astype(np.float64)  # (K, A)
    if overlap is None or not len(proposals):
        return own
    alike = regions.select(proposals, compact=False).iou(regions) >= np.float32(overlap)
    weights = np.where(alike, scores[:, classes].T.astype(np.float64), 0.0)  # (K, N)
    return np.where(weights.any(1)[:, None], regions.support(weights), own)


def voted(regions: Regions, shares: np.ndarray, proposals: np.ndarray) -> Regions:
    """Masks of instances: the atoms with more than half of the votes (K, A); where there are none, the proposal."""
    majority = shares > 0.5
    membership = np.where(majority.any(1)[:, None], majority, regions.membership[proposals])
    return Regions(regions.atoms, membership, regions.sizes).select(slice(None))


def refined(
    rgb: np.ndarray,
    masks: Regions,
    regions: Regions,
    shares: np.ndarray,
    classes: np.ndarray,
    *,
    labels: np.ndarray | None,
    settings: CimPredictionSettings,
) -> Regions:
    """Masks (K) of which the first `crf_instances` follow the colours of the image.

        P_i(q) = sigmoid( log(m_i(q) / (1 - m_i(q))) + map_weight (2 [ map(q) = c_i ] - 1) )
        M_i    = { q : CRF(P_i)(q) > 0.5 }

    m_i are shares of votes, kept within 0.02 to 0.98; the CRF runs in a window about the votes. A mask that it empties
    stays as it was.

    Args:
        rgb: (H, W, 3) uint8.
        masks: the K masks before, best first.
        regions: the proposals, on whose atoms the shares are.
        shares: (K, A) as `votes` gives them.
        classes: (K,) of the instances.
        labels: semantic map (H, W) uint8; None: `map_weight` is 0.
        settings: `crf`, `crf_instances`, `map_weight`.
    """
    count = min(settings.crf_instances, len(classes))
    if settings.crf.iterations == 0 or not count:
        return masks
    found = masks.masks()
    for i in range(count):
        share = shares[i][regions.atoms]
        window = _window(share > TOUCHED)
        agrees = None if labels is None else labels[window] == 1 + classes[i]
        inside = leaning(share[window], agrees, weight=settings.map_weight)
        mask = one_object_crf(rgb[window], inside, crf=settings.crf.model_dump()) > 0.5
        if mask.any():
            found[i] = False
            found[i][window] = mask
    return Regions.from_masks(found)


def _window(touched: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the pixels that are touched, with a margin; of a mask that touches some."""
    spans = [np.flatnonzero(touched.any(axis)) for axis in (1, 0)]
    margin = round(MARGIN * max(span[-1] + 1 - span[0] for span in spans))
    rows, columns = (slice(max(0, span[0] - margin), span[-1] + 1 + margin) for span in spans)
    return rows, columns
