"""Labels of pixels from class response maps: confident foreground, confident background, and uncertain between."""

import cv2
import numpy as np

from stages.core.artifacts.semantic_maps import UNCERTAIN
from stages.core.config.crf import CrfSettings
from stages.ops.crf import dense_crf, label_probabilities
from stages.ops.resize import resize, scaled_size
from stages.semantics.settings import LabelSettings


def pixel_labels(rgb: np.ndarray, responses: np.ndarray, classes: np.ndarray, settings: LabelSettings) -> np.ndarray:
    """Labels (H, W) uint8 of an image: 0 background, 1 + k class k, 255 uncertain (IRNet, cam_to_ir_label.py).

    A pixel has a class where this wins against a high background threshold; else it is background where that wins
    against a low threshold; else it is uncertain. Both contests end with a dense CRF:

        w_t(p)   = argmax CRF(argmax(t, m_1(p), ..., m_n(p)))    winner against background of the value t, 0 to n
        label(p) = w_fg(p) where it is a class;  0 where w_fg(p) = w_bg(p) = 0;  else 255

    m_k = relu(M_k) / max relu(M_k) are the normalised responses, fg and bg the two thresholds.

    Differs from the official code: where a class has no positive response, nothing is background, as its pixels are
    somewhere; and a map of a smaller `longer_side` becomes the image's by interpolating probabilities.

    Args:
        rgb: (H, W, 3) uint8.
        responses: (C, h, w) float, logits that cover the whole image.
        classes: (n,) indices of the classes that the image may hold; the others take no part. Without any, all pixels
            are uncertain.
        settings: thresholds, CRF and working size.
    """
    size = rgb.shape[:2]
    if not len(classes):
        return np.full(size, UNCERTAIN, np.uint8)
    longest = settings.longer_side
    small = resize(rgb, *scaled_size(*size, longest)) if longest is not None and longest < max(size) else rgb
    maps = normalised_responses(responses[classes], small.shape[:2])
    names = np.concatenate([[0], 1 + np.asarray(classes)]).astype(np.uint8)
    foreground = names[contest(small, maps, threshold=settings.fg_threshold, settings=settings, size=size)]
    background = names[contest(small, maps, threshold=settings.bg_threshold, settings=settings, size=size)]
    all_respond = bool((maps.max((1, 2)) > 0).all())
    return combined(foreground, background, background_known=all_respond)


def normalised_responses(responses: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Positive part of maps (n, h, w) at another size, each divided by its largest value; all 0 without any."""
    positive = np.maximum(responses, 0).astype(np.float32)
    grown = np.stack([_bilinear(one, size) for one in positive])
    largest = grown.max((1, 2), keepdims=True)
    return np.divide(grown, largest, out=np.zeros_like(grown), where=largest > 0)


def contest(
    rgb: np.ndarray, maps: np.ndarray, *, threshold: float, settings: LabelSettings, size: tuple[int, int]
) -> np.ndarray:
    """Winner in each pixel among background, which is `threshold` everywhere, and n maps: (height, width) int, 0 to n.

    The winners before the CRF are right with probability `gt_prob`; equal values go to background.
    """
    rivals = np.concatenate([np.full((1, *maps.shape[1:]), threshold, np.float32), maps])
    first = label_probabilities(rivals.argmax(0), len(rivals), gt_prob=settings.gt_prob)
    return at_size(field(rgb, first, settings.crf), size).argmax(0)


def combined(foreground: np.ndarray, background: np.ndarray, *, background_known: bool) -> np.ndarray:
    """Labels of the contest with the high threshold where they are classes; 0 where both say 0; else uncertain."""
    labels = np.where(foreground > 0, foreground, np.uint8(UNCERTAIN))
    if background_known:
        labels[(foreground == 0) & (background == 0)] = 0
    return labels


def field(rgb: np.ndarray, probabilities: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """The dense CRF of the settings on probabilities (L, H, W) of an image uint8 (H, W, 3)."""
    return dense_crf(rgb, probabilities, **settings.model_dump())


def at_size(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (n, h, w) at another size, bilinear, (n, height, width) float32."""
    return maps if maps.shape[1:] == size else np.stack([_bilinear(one, size) for one in maps])


def _bilinear(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(plane), size[::-1], interpolation=cv2.INTER_LINEAR)
