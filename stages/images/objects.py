"""Forms, textures and colours of the built-in scenes."""

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

FORMS = ["disc", "square", "triangle", "star"]
STAR_WAIST = 0.45  # inner over outer radius of the five-pointed star: its tips stay several pixels wide
# Circumscribed radius of a form whose area is that of the unit disc.
REACH = {
    "disc": 1.0,
    "square": np.sqrt(np.pi / 2),
    "triangle": np.sqrt(4 * np.pi / (3 * np.sqrt(3))),
    "star": np.sqrt(np.pi / (5 * STAR_WAIST * np.sin(np.pi / 5))),
}


def form_mask(
    form: str, center: tuple[float, float], radius: float, turn: float, *, height: int, width: int
) -> np.ndarray:
    """Pixels (height, width) bool whose centers lie in the form.

    `center` is (y, x), `radius` that of a disc of the same area, both in pixels; `turn` is in radians. What lies
    outside the image is cut off.
    """
    ys, xs = np.mgrid[:height, :width] - np.array(center).reshape(2, 1, 1)
    if form == "disc":
        return ys**2 + xs**2 <= radius**2
    return _inside_polygon(ys, xs, _corners(form, turn) * radius * REACH[form])


def _corners(form: str, turn: float) -> np.ndarray:
    """Corners (K, 2) as (y, x) of a form of circumscribed radius 1."""
    count = {"square": 4, "triangle": 3, "star": 10}[form]
    angles = turn + 2 * np.pi * np.arange(count) / count
    lengths = np.where(np.arange(count) % 2, STAR_WAIST, 1.0) if form == "star" else np.ones(count)
    return np.stack([np.sin(angles), np.cos(angles)], axis=1) * lengths[:, None]


def _inside_polygon(ys: np.ndarray, xs: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Even-odd rule: a point is inside where a ray to the right crosses the outline an odd number of times."""
    inside = np.zeros(ys.shape, bool)
    for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        spans = (y0 > ys) != (y1 > ys)
        slope = (x1 - x0) / (y1 - y0) if y1 != y0 else 0.0
        inside ^= spans & (xs < x0 + (ys - y0) * slope)
    return inside


def _stripes(across: np.ndarray, _: np.ndarray, period: float, __: np.random.Generator) -> np.ndarray:
    return (across % period < period / 2).astype(np.float32)


def _checks(across: np.ndarray, along: np.ndarray, period: float, _: np.random.Generator) -> np.ndarray:
    return ((across // period + along // period) % 2).astype(np.float32)


def _dots(across: np.ndarray, along: np.ndarray, period: float, _: np.random.Generator) -> np.ndarray:
    distance = np.hypot(across % period - period / 2, along % period - period / 2)
    return (distance < 0.33 * period).astype(np.float32)


def _grain(across: np.ndarray, _: np.ndarray, period: float, generator: np.random.Generator) -> np.ndarray:
    rough = cv2.GaussianBlur(generator.standard_normal(across.shape).astype(np.float32), (0, 0), period / 4)
    return (rough > 0).astype(np.float32)


TEXTURES: list[Callable[..., np.ndarray]] = [_stripes, _checks, _dots, _grain]
PERIODS = (5.0, 8.0)  # pixels; finer is lost in noise and scaling, coarser does not repeat within a small object


def texture(kind: int, height: int, width: int, generator: np.random.Generator) -> np.ndarray:
    """A pattern (height, width) float32 of 0 and 1: number `kind` of TEXTURES at a random period, phase and turn."""
    period, turn = generator.uniform(*PERIODS), generator.uniform(0, np.pi)
    phase = generator.uniform(0, period, 2)
    ys, xs = np.mgrid[:height, :width]
    across = xs * np.cos(turn) + ys * np.sin(turn) + phase[0]
    along = ys * np.cos(turn) - xs * np.sin(turn) + phase[1]
    return TEXTURES[kind](across, along, period, generator)


def paint(colour: np.ndarray, pattern: np.ndarray, contrast: float) -> np.ndarray:
    """Colour (3,) in a texture: (height, width, 3) float32, darker by the share `contrast` where the pattern is 0."""
    return colour * (1 - contrast * (1 - pattern))[..., None]


def colour_of(hue: float, saturation: float, brightness: float) -> np.ndarray:
    """RGB (3,) float32 in 0 to 255 of a hue (any number; its fraction counts)."""
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, brightness), np.float32)
