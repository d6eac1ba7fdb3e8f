"""Dense conditional random field: labels that follow the colours of an image (Krähenbühl and Koltun, NIPS 2011)."""

from typing import Any

import numpy as np
from pydensecrf.densecrf import DenseCRF2D

from stages.ops.windows import widened

SUREST = 0.98  # probability of which a source that leans on another one can be sure
SMALLEST = 1e-5  # probability below which none is taken for a logarithm (pydensecrf's unary_from_softmax)


def dense_crf(
    rgb: np.ndarray,
    probabilities: np.ndarray,
    *,
    iterations: int,
    smooth_sxy: float,
    smooth_compat: float,
    colour_sxy: float,
    colour_srgb: float,
    colour_compat: float,
) -> np.ndarray:
    """Probabilities of each label after mean field inference, (L, H, W) float32; they sum to 1 in each pixel.

    Two terms make neighbours agree: one of position alone, one of position and colour, both with Potts compatibility
    and symmetric normalisation (the defaults of pydensecrf, used by DeepLab, IRNet and BESTIE).

    Args:
        rgb: (H, W, 3) uint8.
        probabilities: (L, H, W) float, of each label; below 1e-5 they count as 1e-5.
        iterations: of mean field inference; 0 gives the probabilities back.
        smooth_sxy: standard deviation in pixels of the term of position.
        smooth_compat: its weight.
        colour_sxy: standard deviation in pixels of the term of position and colour.
        colour_srgb: its standard deviation in grey levels of 0 to 255.
        colour_compat: its weight.

    Raises:
        ValueError: sizes that do not fit, or probabilities that are not finite.
    """
    labels, height, width = probabilities.shape
    if rgb.shape != (height, width, 3) or rgb.dtype != np.uint8:
        raise ValueError(f"image is {rgb.dtype} {rgb.shape}, expected uint8 {(height, width, 3)}")
    if not np.isfinite(probabilities).all():
        raise ValueError("the probabilities of a dense CRF hold values that are not finite")
    if iterations == 0 or labels == 1:
        return probabilities.astype(np.float32)
    field = DenseCRF2D(width, height, labels)
    energy = -np.log(np.maximum(probabilities.reshape(labels, -1), SMALLEST))
    field.setUnaryEnergy(np.ascontiguousarray(energy, np.float32))
    field.addPairwiseGaussian(sxy=smooth_sxy, compat=smooth_compat)
    field.addPairwiseBilateral(sxy=colour_sxy, srgb=colour_srgb, rgbim=np.ascontiguousarray(rgb), compat=colour_compat)
    return np.array(field.inference(iterations), np.float32).reshape(labels, height, width)


def object_crf(
    rgb: np.ndarray,
    probabilities: np.ndarray,
    boxes: np.ndarray,
    *,
    wanted: np.ndarray,
    threshold: float,
    widening: float,
    crf: dict[str, Any],
) -> np.ndarray:
    """Masks (K, H, W) bool of objects that pass a CRF one by one, each against all that is not it.

        M_k = { q : CRF(P_k)(q) >= threshold }

    The CRF sees a window of the image about the object's box. What is not `wanted`, and what the CRF leaves empty, is
    cut at the threshold as it is.

    Args:
        rgb: (H, W, 3) uint8.
        probabilities: P (K, H, W) float32, of the object in each pixel.
        boxes: (K, 4), (x0, y0, x1, y1) in pixels.
        wanted: (K,) bool, the objects that pass the CRF.
        threshold: probability from which a pixel belongs to the mask.
        widening: sides of the window, times those of the box.
        crf: the keyword arguments of `dense_crf`.
    """
    masks = probabilities >= threshold
    for place in np.flatnonzero(wanted) if crf["iterations"] else ():
        window = widened(boxes[place], widening, rgb.shape[:2])
        refined = one_object_crf(rgb[window], probabilities[place][window], crf=crf) >= threshold
        if refined.any():
            masks[place][window] = refined
    return masks


def one_object_crf(rgb: np.ndarray, inside: np.ndarray, *, crf: dict[str, Any]) -> np.ndarray:
    """Probability (H, W) float32 of an object against all else, after a CRF on its probability `inside` (H, W)."""
    both = np.stack([1 - inside, inside]).astype(np.float32)
    return dense_crf(np.ascontiguousarray(rgb), both, **crf)[1]


def leaning(inside: np.ndarray, agrees: np.ndarray | None, *, weight: float) -> np.ndarray:
    """Probability (H, W) of an object that leans towards the pixels where another source agrees.

        P'(q) = sigmoid( log(P(q) / (1 - P(q))) + weight (2 [ agrees(q) ] - 1) ),    P kept within 0.02 to 0.98

    Args:
        inside: P (H, W) float, of the object in each pixel.
        agrees: (H, W) bool, such as where a semantic map has the object's class; None: as a weight of 0.
        weight: 0 or more, in units of the logit.
    """
    bounded = np.clip(inside, 1 - SUREST, SUREST)
    logit = np.log(bounded / (1 - bounded))
    if agrees is not None:
        logit += weight * np.where(agrees, 1.0, -1.0)
    return 1 / (1 + np.exp(-logit))


def label_probabilities(labels: np.ndarray, count: int, *, gt_prob: float) -> np.ndarray:
    """Probabilities (count, H, W) float32 of a map of labels that is right with probability `gt_prob`.

    Each other label has an equal part of the rest (pydensecrf's unary_from_labels).

    Args:
        labels: (H, W) int, 0 to count - 1.
        count: L, the number of labels.
        gt_prob: above 1 / count, below 1.
    """
    if count == 1:
        return np.ones((1, *labels.shape), np.float32)
    right = np.arange(count)[:, None, None] == labels
    return np.where(right, gt_prob, (1 - gt_prob) / (count - 1)).astype(np.float32)
