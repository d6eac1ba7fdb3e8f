"""Resizes and mirrors images and maps: arrays in, arrays out."""

import cv2
import numpy as np


def resize(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize uint8 (H, W, 3): area averages where both sides shrink (no aliasing), else bilinear."""
    if rgb.shape[:2] == (height, width):
        return rgb
    shrinks = height <= rgb.shape[0] and width <= rgb.shape[1]
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resize_bilinear(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize uint8 (H, W, 3) as the official code of CIM does: bilinear in float32, then truncated to uint8."""
    return cv2.resize(rgb.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def nearest(numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map of numbers (H, W) at another size, (height, width): each pixel takes the one that holds its center."""
    rows, columns = (
        ((np.arange(to) + 0.5) * was / to).astype(int) for to, was in zip((height, width), numbers.shape, strict=True)
    )
    return numbers[rows[:, None], columns]


def scaled_size(height: int, width: int, longer_side: int) -> tuple[int, int]:
    """Height and width after scaling the longer side to `longer_side`; the other is rounded, at least 1."""
    scale = longer_side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def flip(rgb: np.ndarray) -> np.ndarray:
    """Mirror (H, W, ...) left to right."""
    return np.ascontiguousarray(rgb[:, ::-1])
