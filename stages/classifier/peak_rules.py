"""From response maps to peaks in image coordinates: the rules of PRM and AGPL, and of BESTIE."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.classifier.network import enlarge
from stages.classifier.settings import PooledPeaksSettings, WindowPeaksSettings
from stages.ops.peaks import list_peaks, pooled_peaks, window_peaks


class Peaks(NamedTuple):
    """P peaks, by class, then row by row.

    Attributes:
        points: (P, 2) int32, (y, x) in pixels of the image.
        classes: (P,) int32.
        scores: (P,) float32.
    """

    points: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def find_window_peaks(maps: Tensor, wanted: np.ndarray, size: tuple[int, int], settings: WindowPeaksSettings) -> Peaks:
    """Peaks above the threshold; of a class without one its single best peak (official CIM, PRM's rule).

        peaks of class c = { p : M_c(p) = max M_c over the window around p, M_c(p) >= median M_c, M_c(p) > threshold }

    M_c is the enlarged response map.
    Differs from the official code: a relative threshold, where it is set, is a share of the class's largest response;
    a class whose responses are all negative then keeps its best peak alone.

    Args:
        maps: (C, h, w) response maps that cover the whole image.
        wanted: (K,) ascending classes that peaks are sought for, at least one.
        size: height and width of the image.
        settings: see `WindowPeaksSettings`.
    """
    large = enlarge(maps[wanted][None], settings.upsampling)[0].cpu()
    listed = list_peaks(large.numpy(), window_peaks(large, window=settings.window).numpy())
    kept = _kept(listed[0], listed[2], len(wanted), settings)
    row, points, values = (part[kept] for part in listed)
    points = points * np.array(size) // np.array(large.shape[1:])
    return _as_peaks(wanted[row], points, values)


def _kept(row: np.ndarray, values: np.ndarray, count: int, settings: WindowPeaksSettings) -> np.ndarray:
    """Positions of the peaks that count, from the class row and value of each."""
    best = np.array([np.flatnonzero(row == k)[values[row == k].argmax()] for k in range(count)], np.int64)
    highest = values[best][row]
    if settings.relative:
        above = (values > settings.threshold * highest) & (highest > 0)
    else:
        above = values > settings.threshold
    without = np.bincount(row[above], minlength=count) == 0
    return np.sort(np.concatenate([np.flatnonzero(above), best[without]]))


def find_pooled_peaks(
    passes: list[Tensor], wanted: np.ndarray, size: tuple[int, int], settings: PooledPeaksSettings
) -> Peaks:
    """Peaks of the smoothed, normalised map at the image's size, the highest of each class (official BESTIE).

        m_c = mean over the passes of relu(M_c) / (max relu(M_c) + 1e-5),    smooth = mean of m_c over a small square
        peaks of class c = { p : smooth(p) = max smooth over the window around p, smooth(p) >= threshold }

    M_c is the response map at the image's size.

    Args:
        passes: response maps (C, h, w) of the image and its mirror image (mirrored back), or of several sizes.
        wanted: (K,) ascending classes that peaks are sought for, at least one.
        size: height and width of the image.
        settings: see `PooledPeaksSettings`.
    """
    normalised = [_normalised(maps[wanted], size) for maps in passes]
    mean = torch.stack(normalised).mean(0)
    # Zeros beyond the border count, so that responses shrink there, as in the official code.
    smooth = functional.avg_pool2d(mean[None], settings.smoothing, 1, settings.smoothing // 2)[0].cpu()
    peaks = pooled_peaks(smooth, window=settings.window).numpy()
    row, points, values = list_peaks(smooth.numpy(), peaks, threshold=settings.threshold, limit=settings.limit)
    return _as_peaks(wanted[row], points, values)


def _normalised(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(K, h, w) to (K, H, W), enlarged, from 0 to almost 1."""
    positive = functional.relu(maps)
    large = functional.interpolate(positive[None], size=size, mode="bilinear", align_corners=False)[0]
    return large / (large.amax((1, 2), keepdim=True) + 1e-5)


def _as_peaks(classes: np.ndarray, points: np.ndarray, values: np.ndarray) -> Peaks:
    return Peaks(points.astype(np.int32).reshape(-1, 2), classes.astype(np.int32), values.astype(np.float32))
