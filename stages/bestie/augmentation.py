"""What an image, its maps and its cues look like to the network: colours, size, crop and mirror image together."""

import math
from typing import NamedTuple

import cv2
import numpy as np

from stages.bestie.settings import BestieDataSettings
from stages.core.images.loading import IMAGENET_MEAN
from stages.ops import resize as resizing

# Where a crop reaches beyond the image; the official code cuts.
ROUNDED = np.round(255 * IMAGENET_MEAN).astype(np.uint8)
MEAN_GREY = {
    "area": ROUNDED,
    "bicubic": ROUNDED,
    "opencv": (255 * IMAGENET_MEAN.astype(np.float64)).astype(np.uint8),
}


class View(NamedTuple):
    """An image with what is known of its pixels.

    Attributes:
        rgb: (H, W, 3) uint8.
        labels: (H, W) uint8, the semantic map.
        instances: (H, W) int32, accepted components, 0 where there is none.
        points: (P, 2) float32, on the way float64, (y, x) in pixels.
    """

    rgb: np.ndarray
    labels: np.ndarray
    instances: np.ndarray
    points: np.ndarray


def augmented(view: View, settings: BestieDataSettings, generator: np.random.Generator) -> tuple[View, np.ndarray]:
    """A random view of settings.crop pixels per side, and which of the points lie in it, (P,) bool; all are kept.

    Differs from the official code: unless `interpolation` is opencv an image is resampled once, not twice; points
    become whole pixels before they are mirrored, not after, which would move them by one.
    """
    view = view._replace(rgb=jitter(view.rgb, settings, generator))
    scale = settings.scales[generator.integers(len(settings.scales))]
    crop = cropped(at_scale(view, scale, settings), settings, generator)
    crop = crop._replace(points=np.floor(crop.points).astype(np.float32))
    if generator.random() < settings.flip:
        crop = mirrored(crop)
    return crop, ((crop.points >= 0) & (crop.points < settings.crop)).all(1)


def scaled_size(height: int, width: int, settings: BestieDataSettings) -> tuple[int, int]:
    """Height and width with the longer side at `longer_side`, the other rounded up to a multiple of the step plus 1.

    With a step of 1 the other side is rounded. The official code's rounding changes the proportions a little.
    """
    longer, step = settings.longer_side, settings.side_step
    scale = longer / max(height, width)
    if step == 1:
        return max(1, round(height * scale)), max(1, round(width * scale))
    sides = [step * math.ceil((math.floor(side * scale) - 1) / step) + 1 for side in (height, width)]
    return (longer, sides[1]) if height >= width else (sides[0], longer)


def at_scale(view: View, scale: float, settings: BestieDataSettings) -> View:
    """The view with its longer side at `longer_side` times `scale`.

    With `interpolation: opencv` as the official code makes it: first to the longer side, where points become whole
    pixels, then by the factor.
    """
    height, width = scaled_size(*view.labels.shape, settings)
    if settings.interpolation != "opencv":
        size = max(1, int(height * scale)), max(1, int(width * scale))
        return resized(view, *size, interpolation=settings.interpolation)
    sized = _resized_by_opencv(view, height, width, None)
    sized = sized._replace(points=np.floor(sized.points))
    return _resized_by_opencv(sized, max(1, round(height * scale)), max(1, round(width * scale)), scale)


def jitter(rgb: np.ndarray, settings: BestieDataSettings, generator: np.random.Generator) -> np.ndarray:
    """The image uint8 (H, W, 3) with brightness, contrast and hue changed, each with probability 1/2.

    Contrast comes before or after hue, with equal probability, as in the official code.
    """
    shift, factor, turn, first = (
        generator.uniform(-settings.brightness, settings.brightness) * (generator.random() < 0.5),
        1 + generator.uniform(-settings.contrast, settings.contrast) * (generator.random() < 0.5),
        generator.uniform(-settings.hue, settings.hue) * (generator.random() < 0.5),
        generator.random() < 0.5,
    )
    if not shift and factor == 1 and not turn:
        return rgb
    values = rgb.astype(np.float32) + np.float32(shift)
    values = _turned(values * np.float32(factor), turn) if first else _turned(values, turn) * np.float32(factor)
    return np.clip(values, 0, 255).astype(np.uint8)


def _turned(values: np.ndarray, degrees: float) -> np.ndarray:
    if not degrees:
        return values
    hsv = cv2.cvtColor(np.maximum(values, 0), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + np.float32(degrees)) % 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def resized(view: View, height: int, width: int, *, interpolation: str) -> View:
    """The view at another size: the image smoothly (`resize_as`), maps by nearest pixel centers."""
    factors = np.array([height, width]) / view.labels.shape
    maps = (resizing.nearest(ids, height, width) for ids in (view.labels, view.instances))
    rgb = resizing.resize_as(view.rgb, height, width, interpolation=interpolation)
    return View(rgb, *maps, view.points * factors.astype(np.float32))


def _resized_by_opencv(view: View, height: int, width: int, factor: float | None) -> View:
    # In 64 bits: whether a point is cut to one whole pixel or the one before can hang on the last digit.
    points = view.points.astype(np.float64)
    points = points / view.labels.shape * [height, width] if factor is None else points * factor
    maps = (resizing.opencv_nearest(ids, height, width, factor=factor) for ids in (view.labels, view.instances))
    rgb = resizing.opencv_bilinear(view.rgb, height, width, factor=factor, dtype=np.float64)
    return View(rgb, *maps, points)


def cropped(view: View, settings: BestieDataSettings, generator: np.random.Generator) -> View:
    """A square at a random place; a smaller image is laid at a random place, with mean grey and background around.

    Points are moved along; those outside lie beyond the square.
    """
    side = settings.crop
    height, width = view.labels.shape
    spare = np.array([side - height, side - width])
    # Positive: where the image lies in the square; negative: where the square lies in the image.
    shift = np.sign(spare) * [generator.integers(abs(int(s)) + 1) for s in spare]
    rgb = np.empty((side, side, 3), np.uint8)
    rgb[:] = MEAN_GREY[settings.interpolation]
    labels, instances = np.zeros((side, side), np.uint8), np.zeros((side, side), np.int32)
    (top, left), (cut_y, cut_x) = np.maximum(shift, 0), np.maximum(-shift, 0)
    high, wide = min(height, side), min(width, side)
    to = np.s_[top : top + high, left : left + wide]
    source = np.s_[cut_y : cut_y + high, cut_x : cut_x + wide]
    rgb[to], labels[to], instances[to] = view.rgb[source], view.labels[source], view.instances[source]
    return View(rgb, labels, instances, view.points + shift.astype(np.float32))


def mirrored(view: View) -> View:
    """The view mirrored left to right; a point in pixel x moves to pixel W - 1 - x."""
    width = view.labels.shape[1]
    points = np.stack([view.points[:, 0], width - 1 - view.points[:, 1]], 1)
    return View(*(np.ascontiguousarray(part[:, ::-1]) for part in view[:3]), points)
