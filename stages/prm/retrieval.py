"""For each peak the proposal that fits its response best (Zhou et al., CVPR 2018, equation 5)."""

from dataclasses import dataclass

import cv2
import numpy as np

from stages.core.artifacts.cues import Cues
from stages.ops.nms import greedy
from stages.ops.regions import Regions
from stages.ops.resize import scaled_size
from stages.prm.settings import PrmSettings


@dataclass(frozen=True)
class Retrieved:
    """Instances, best first: `proposals` (K,) int64, `classes` (K,) int64, `scores` (K,) float32 in [0, 1]."""

    proposals: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def retrieve_instances(regions: Regions, cues: Cues, *, settings: PrmSettings) -> Retrieved:
    """The best proposal of each peak of each predicted class, after suppression within a class.

    Peak k of class c takes argmax_n fit(R_k, S_n) (equation 5, `proposal_fit`). Its score is its share of its class's
    best peak times the class's probability. No tags are used. Peaks to which no proposal of allowed size exists give
    nothing.
    """
    peaks, scores = predicted_peaks(cues, settings=settings)
    if not len(peaks) or not len(regions):
        return Retrieved(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    fit = proposal_fit(regions, cues, peaks, settings=settings)
    best = fit.argmax(axis=1)
    found = np.isfinite(fit.max(axis=1))
    proposals, classes, scores = best[found], cues.peak_classes[peaks][found].astype(np.int64), scores[found]
    chosen = regions.select(proposals, compact=False)
    rivals = (chosen.iou() >= np.float32(settings.nms_threshold)) & (classes[:, None] == classes[None, :])
    kept = greedy(rivals, scores).nonzero()[0]
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return Retrieved(proposals[kept], classes[kept], scores[kept])


def predicted_peaks(cues: Cues, *, settings: PrmSettings) -> tuple[np.ndarray, np.ndarray]:
    """Indices (P,) of the peaks that count, in the cues' order, and their scores (P,) float32 in [0, 1].

    score_k = v_k / max_j v_j * sigmoid(s_c)    with v_k the values of the peaks of class c, and s_c its logit
    """
    best = np.full(len(cues.class_scores), -np.inf, np.float32)
    np.maximum.at(best, cues.peak_classes, cues.peak_scores)
    best_of_class = best[cues.peak_classes]
    counts = (cues.class_scores[cues.peak_classes] > settings.class_threshold) & (cues.peak_scores > 0)
    counts &= cues.peak_scores >= settings.peak_share * best_of_class
    peaks = counts.nonzero()[0]
    logits = cues.class_scores[cues.peak_classes[peaks]].astype(np.float64)
    shares = cues.peak_scores[peaks] / best_of_class[peaks]
    return peaks, (shares / (1 + np.exp(-logits))).astype(np.float32)


def proposal_fit(regions: Regions, cues: Cues, peaks: np.ndarray, *, settings: PrmSettings) -> np.ndarray:
    """How well each proposal fits each peak, (P, N) float32; -inf for proposals too small or too large.

        fit(R, S) = alpha R * S + gamma R * contour(S) - beta Q * S,    A * B = sum_p A(p) B(p)                   (5)

    S is the proposal's mask and contour(S) its border, R the peak's response, which sums to 1, and Q the background of
    the class, as a share of the image: where its response is below `background_factor` times the mean. alpha, gamma and
    beta are `response_weight`, `contour_weight` and `background_weight`. A peak without a response of its own
    fits nothing.

    Differs from the paper: R is the class's response within the peak's basin (watershed) instead of the response
    that is propagated back from the peak through the network.
    """
    height, width = scaled_size(*regions.shape, settings.grid)
    atoms = _sampled(regions.atoms, height, width)
    peak_maps, backgrounds = _peak_maps(cues, peaks, shape=(height, width), image=regions.shape, settings=settings)
    members = regions.membership.astype(np.float32)
    inside = _per_atom(peak_maps, atoms, members.shape[1]) @ members.T
    empty = _per_atom(backgrounds, atoms, members.shape[1]) @ members.T / (height * width)
    border = 0.0
    if settings.contour_weight > 0:
        contours = _contours(regions.membership[:, atoms], settings.contour_width)
        border = peak_maps.reshape(len(peaks), -1) @ contours.reshape(len(regions), -1).T
    fit = settings.response_weight * inside + settings.contour_weight * border - settings.background_weight * empty
    share = regions.areas() / np.prod(regions.shape)
    fit[:, (share < settings.min_area) | (share >= settings.max_area)] = -np.inf
    fit[peak_maps.sum(axis=(1, 2)) == 0] = -np.inf
    return fit


def _peak_maps(
    cues: Cues, peaks: np.ndarray, *, shape: tuple[int, int], image: tuple[int, int], settings: PrmSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Response of each peak (P, h, w), which sums to 1, and background of its class (P, h, w), both float32."""
    from skimage.segmentation import watershed

    responses = np.zeros((len(peaks), *shape), np.float32)
    backgrounds = np.zeros_like(responses)
    places = cues.peaks[peaks] * np.array(shape) // np.array(image)
    classes = cues.peak_classes[peaks]
    for label in np.unique(classes):
        of_class = (classes == label).nonzero()[0]
        response = cv2.resize(cues.responses[label], shape[::-1], interpolation=cv2.INTER_LINEAR)
        markers = np.zeros(shape, np.int32)
        markers[tuple(places[of_class].T)] = 1 + np.arange(len(of_class))
        basins = watershed(-response, markers)
        own = np.maximum(response, 0) * (basins == 1 + np.arange(len(of_class))[:, None, None])
        total = own.sum(axis=(1, 2), keepdims=True)
        responses[of_class] = own / np.where(total > 0, total, 1)
        backgrounds[of_class] = response < settings.background_factor * response.mean()
    return responses, backgrounds


def _per_atom(maps: np.ndarray, atoms: np.ndarray, count: int) -> np.ndarray:
    """Sums of maps (P, h, w) over each atom, (P, A) float32."""
    flat = atoms.reshape(-1)
    sums = [np.bincount(flat, weights=values.reshape(-1), minlength=count) for values in maps]
    return np.stack(sums).astype(np.float32)


def _sampled(atoms: np.ndarray, height: int, width: int) -> np.ndarray:
    """The atom map at the centers of a grid of `height` x `width`."""
    rows = ((np.arange(height) + 0.5) * atoms.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * atoms.shape[1] / width).astype(np.int64)
    return atoms[rows[:, None], columns]


def _contours(masks: np.ndarray, width: int) -> np.ndarray:
    """Pixels of (N, h, w) bool masks that have both sides of the border in their window, float32 (N, h, w).

    The morphological gradient; the border of the image is no contour.
    """
    window = np.ones((width, width), np.uint8)
    contours = np.zeros(masks.shape, np.float32)
    for contour, mask in zip(contours, masks.astype(np.uint8), strict=True):
        contour[:] = cv2.dilate(mask, window) - cv2.erode(mask, window)
    return contours
