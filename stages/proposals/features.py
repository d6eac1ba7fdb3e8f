"""What a pixel looks like: edge strength, and the bins of its colour and texture.

All of it comes from the image itself: no labels and no learned weights.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

# Typical half-range of CIELAB's axes in photographs, so that a step in lightness and one in hue weigh alike.
LAB_RANGE = np.array([100.0, 60.0, 60.0], dtype=np.float32)

COLOUR_BINS = 25  # per channel, as in selective search (Uijlings et al., IJCV 2013, section 3.2)
ORIENTATIONS = 8  # of the gradient, as in selective search
MAGNITUDES = 10  # of the gradient, as in selective search
TEXTURE_BINS = ORIENTATIONS * MAGNITUDES


class PixelFeatures(NamedTuple):
    """Per-pixel features of one image.

    Attributes:
        edges: (H, W) float32, 1 = the image's 99th percentile; 0 everywhere in a constant image.
        colours: colour space name -> (H, W, 3) uint8 bin of each channel, 0..COLOUR_BINS-1.
        texture: (H, W) uint8 bin of gradient orientation and magnitude, 0..TEXTURE_BINS-1.
    """

    edges: np.ndarray
    colours: dict[str, np.ndarray]
    texture: np.ndarray


def describe_pixels(rgb: np.ndarray, *, edge_sigmas: Sequence[float]) -> PixelFeatures:
    """Features of an (H, W, 3) uint8 image; `edge_sigmas` in pixels."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    scaled = lab / LAB_RANGE
    return PixelFeatures(
        edges=edge_strength(scaled, sigmas=edge_sigmas),
        colours={"lab": _lab_bins(lab), "hsv": _hsv_bins(rgb)},
        texture=_texture_bins(scaled[..., 0]),
    )


def edge_strength(scaled_lab: np.ndarray, *, sigmas: Sequence[float]) -> np.ndarray:
    """Scale-normalised colour gradient, mean over scales, as a share of its own 99th percentile.

    A gradient shrinks as 1/sigma under blurring; the factor sigma makes the scales comparable (Lindeberg 1998).
    """
    total = np.zeros(scaled_lab.shape[:2], dtype=np.float32)
    for sigma in sigmas:
        smooth = cv2.GaussianBlur(scaled_lab, (0, 0), sigma)
        across = cv2.Scharr(smooth, cv2.CV_32F, 1, 0, scale=1 / 16)
        down = cv2.Scharr(smooth, cv2.CV_32F, 0, 1, scale=1 / 16)
        total += np.float32(sigma) * np.sqrt((across * across + down * down).sum(axis=2))
    total /= np.float32(len(sigmas))
    top = np.percentile(total, 99)
    # 1e-6 is far below the gradient of one grey level (4e-3): a constant image stays 0 instead of amplified rounding.
    return (total / np.float32(top + 1e-6)).astype(np.float32)


def _lab_bins(lab: np.ndarray) -> np.ndarray:
    """Lightness 0..100 in steps of 4; a and b from -80 to 80 in steps of 6.4, the rest in the outer bins."""
    lowest = np.array([0.0, -80.0, -80.0], dtype=np.float32)
    width = np.array([100.0, 160.0, 160.0], dtype=np.float32) / COLOUR_BINS
    return np.clip((lab - lowest) / width, 0, COLOUR_BINS - 1).astype(np.uint8)


def _hsv_bins(rgb: np.ndarray) -> np.ndarray:
    """Hue (OpenCV: 0..180), saturation and value in COLOUR_BINS equal steps."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).astype(np.int32)
    return (hsv * COLOUR_BINS // np.array([181, 256, 256], dtype=np.int32)).astype(np.uint8)


def _texture_bins(lightness: np.ndarray) -> np.ndarray:
    """Gradient orientation x log-magnitude of lightness (0..1) at sigma 1."""
    smooth = cv2.GaussianBlur(lightness * np.float32(100), (0, 0), 1.0)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    turn = (np.arctan2(down, across) + np.float32(np.pi)) / np.float32(2 * np.pi)
    orientation = (turn * ORIENTATIONS).astype(np.uint8) % ORIENTATIONS
    # 200 is about the strongest Sobel response met on lightness 0..100.
    magnitude = np.log1p(np.hypot(across, down)) * np.float32(MAGNITUDES / np.log(200))
    return orientation * MAGNITUDES + np.clip(magnitude, 0, MAGNITUDES - 1).astype(np.uint8)
