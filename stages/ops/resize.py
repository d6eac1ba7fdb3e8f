"""Resizes and mirrors images and maps: arrays in, arrays out."""

import cv2
import numpy as np
from numpy.typing import DTypeLike
from PIL import Image

PILLOW = {"pillow": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def resize(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize uint8 (H, W, 3): area averages where both sides shrink (no aliasing), else bilinear."""
    if rgb.shape[:2] == (height, width):
        return rgb
    shrinks = height <= rgb.shape[0] and width <= rgb.shape[1]
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resize_as(rgb: np.ndarray, height: int, width: int, *, interpolation: str) -> np.ndarray:
    """Resize uint8 (H, W, 3) as `resize` does ("area"), or as Pillow does: BILINEAR ("pillow") or BICUBIC ("bicubic").

    Pillow's are weighted means of all pixels that a new one covers. The official codes of PRM and BESTIE squash images
    by BILINEAR, through torchvision; timm names BICUBIC for most of its weights.
    """
    if interpolation == "area":
        return resize(rgb, height, width)
    return np.array(Image.fromarray(rgb).resize((width, height), PILLOW[interpolation]))


def opencv_bilinear(
    rgb: np.ndarray, height: int, width: int, *, factor: float | None = None, dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Resize uint8 (H, W, 3) by OpenCV's INTER_LINEAR in `dtype`, then truncate to uint8 (official CIM and BESTIE).

    Two neighbours per axis, however much the image shrinks. Pixel centers lie where `factor` puts them, which is the
    ratio of the sizes where it is None; the size must be what OpenCV rounds `factor` times the old one to.
    """
    return _opencv(rgb.astype(dtype), height, width, factor, cv2.INTER_LINEAR).astype(np.uint8)


def opencv_nearest(numbers: np.ndarray, height: int, width: int, *, factor: float | None = None) -> np.ndarray:
    """A map of numbers (H, W) at another size by OpenCV's INTER_NEAREST: a pixel takes floor(its place / factor).

    `factor` as in `opencv_bilinear`. A row 0 1 2 becomes 0 0 1 2; by pixel centers (`nearest`) it is 0 1 1 2.
    """
    return _opencv(numbers, height, width, factor, cv2.INTER_NEAREST)


def _opencv(array: np.ndarray, height: int, width: int, factor: float | None, interpolation: int) -> np.ndarray:
    if factor is None or min(array.shape[:2]) * factor < 0.75:  # a side that OpenCV would round to 0
        return cv2.resize(array, (width, height), interpolation=interpolation)
    resized = cv2.resize(array, None, fx=factor, fy=factor, interpolation=interpolation)
    if resized.shape[:2] != (height, width):
        raise ValueError(
            f"{array.shape[:2]} (height, width) times {factor} is {resized.shape[:2]}, not {(height, width)}; "
            "give the factor of the sizes, or none"
        )
    return resized


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
