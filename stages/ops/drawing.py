"""Draws masks, response maps and points on images: arrays in, arrays out."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from stages.ops.regions import Regions
from stages.ops.resize import nearest
from stages.ops.windows import Window, WindowedMask

GOLDEN_TURN = 0.618034  # hues this far apart stay distinct however many there are
FIRST_HUE = 0.58
HATCH = 7  # pixels from line to line


def palette(count: int) -> np.ndarray:
    """Distinct bright colours, (count, 3) uint8 RGB; the first are the same for any count."""
    from matplotlib.colors import hsv_to_rgb

    numbers = np.arange(count)
    hue = (FIRST_HUE + GOLDEN_TURN * numbers) % 1
    saturation, value = np.where(numbers % 2, 0.65, 0.9), np.where(numbers % 3 == 2, 0.8, 1.0)
    rgb = hsv_to_rgb(np.stack([hue, saturation, value], axis=1))
    return (rgb * 255).round().astype(np.uint8)


def hexadecimal(colour: np.ndarray) -> str:
    """A colour as #rrggbb."""
    return "#" + bytes(colour.astype(np.uint8)).hex()


def small_masks(regions: Regions, index: np.ndarray, height: int, width: int) -> np.ndarray:
    """Masks (n, height, width) of some regions at another size, by nearest neighbour; never drawn at full size."""
    return regions.membership[index][:, nearest(regions.atoms, height, width)]


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask (H, W) that touch its outside, (H, W) bool; the border of the image is no outside."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return mask & ~cv2.erode(mask.astype(np.uint8), cross, borderValue=1).astype(bool)


def paint(rgb: np.ndarray, masks: np.ndarray, colours: np.ndarray, *, opacity: float) -> np.ndarray:
    """Masks (n, H, W) in colours (n, 3) over an image (H, W, 3) uint8, the first on top; outlines are solid."""
    painted = rgb.astype(np.float32)
    for mask, colour in zip(masks[::-1], colours[::-1], strict=True):
        painted[mask] += opacity * (colour - painted[mask])
        painted[outline(mask)] = colour
    return painted.round().astype(np.uint8)


def paint_windowed(
    rgb: np.ndarray, masks: Sequence[WindowedMask], colours: np.ndarray, *, opacity: float
) -> np.ndarray:
    """As `paint`, each mask within its window, so that large images take the memory of one; grey levels are rounded."""
    painted = rgb.copy()
    for mask, colour in zip(masks[::-1], colours[::-1], strict=True):
        framed = Window(mask.y - 1, mask.x - 1, mask.pixels.shape[0] + 2, mask.pixels.shape[1] + 2)
        kept = framed.common(Window(0, 0, *rgb.shape[:2]))
        pixels = np.pad(mask.pixels, 1)[kept.seen_from(framed).slices]
        painted[kept.slices] = paint(painted[kept.slices], pixels[None], colour[None], opacity=opacity)
    return painted


def hatch(rgb: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Slanting lines in a colour (3,) over the pixels of a mask (H, W) of an image (H, W, 3)."""
    rows, columns = np.indices(mask.shape)
    hatched = rgb.copy()
    hatched[mask & ((rows + columns) % HATCH < 2)] = colour
    return hatched


def directions(offsets: np.ndarray, height: int, width: int) -> np.ndarray:
    """Offsets (2, rows, columns) (dy, dx) float32 as colours (height, width, 3) uint8.

    Direction is the hue: red to the right, green down, cyan to the left, violet up. Length is the saturation: white is
    none, the longest has full colour.
    """
    from matplotlib.colors import hsv_to_rgb

    dy, dx = (cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in offsets)
    length = np.hypot(dy, dx)
    saturation = length / max(float(length.max()), np.finfo(np.float32).tiny)
    rgb = hsv_to_rgb(np.stack([np.arctan2(dy, dx) / (2 * np.pi) % 1, saturation, np.ones_like(length)], axis=-1))
    return (rgb * 255).round().astype(np.uint8)


def heatmap(rgb: np.ndarray, response: np.ndarray, *, opacity: float) -> np.ndarray:
    """A response map (rows, columns) over an image (H, W, 3): zero and below stays dark, its maximum is brightest."""
    height, width = rgb.shape[:2]
    positive = np.maximum(cv2.resize(response.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR), 0)
    scaled = (positive / max(float(positive.max()), np.finfo(np.float32).tiny) * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return (rgb * (1 - opacity) + colours * opacity).round().astype(np.uint8)


def mark(rgb: np.ndarray, points: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Discs with a dark and a light edge at points (n, 2) (y, x) of the image; n may be 0."""
    marked = rgb.copy()
    radius = max(3, round(max(rgb.shape[:2]) / 80))
    for (y, x), colour in zip(points.tolist(), colours.tolist(), strict=True):
        for grown, ink in ((2, (0, 0, 0)), (1, (255, 255, 255)), (0, colour)):
            cv2.circle(marked, (x, y), radius + grown, ink, cv2.FILLED, cv2.LINE_AA)
    return marked


def number(rgb: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Write 1, 2, ... into masks (n, H, W) where they are thickest, the first on top; empty masks get none."""
    return label(rgb, masks, [str(i + 1) for i in range(len(masks))], size=1.0)


def label(rgb: np.ndarray, masks: np.ndarray, texts: Sequence[str], *, size: float) -> np.ndarray:
    """Write a text into each mask (n, H, W) where it is thickest, the first on top; empty masks get none.

    Capitals of `size` 1 are a twentieth of the longer side high.
    """
    labelled = rgb.copy()
    scale = size * max(rgb.shape[:2]) / 480
    for mask, text in reversed(list(zip(masks, texts, strict=True))):
        if mask.any():
            _write(labelled, text, thickest_point(mask), max(scale, 0.4))
    return labelled


def label_windowed(rgb: np.ndarray, masks: Sequence[WindowedMask], texts: Sequence[str], *, size: float) -> np.ndarray:
    """As `label`, of masks within their windows."""
    labelled = rgb.copy()
    scale = size * max(rgb.shape[:2]) / 480
    for mask, text in reversed(list(zip(masks, texts, strict=True))):
        if mask.area:
            y, x = thickest_point(mask.pixels)
            _write(labelled, text, (mask.y + y, mask.x + x), max(scale, 0.4))
    return labelled


def thickest_point(mask: np.ndarray) -> tuple[int, int]:
    """(y, x) of the pixel of a mask that lies farthest from its outside."""
    framed = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_3)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), mask.shape)
    return int(y), int(x)


def _write(rgb: np.ndarray, text: str, center: tuple[int, int], scale: float) -> None:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    left = int(np.clip(center[1] - width // 2, 2, max(rgb.shape[1] - width - 2, 2)))
    base = int(np.clip(center[0] + height // 2, height + 2, max(rgb.shape[0] - 3, height + 2)))
    cv2.rectangle(rgb, (left - 2, base - height - 2), (left + width + 1, base + 2), (0, 0, 0), cv2.FILLED)
    cv2.putText(rgb, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)


def jpeg_uri(rgb: np.ndarray, *, quality: int) -> str:
    """An image (H, W, 3) uint8 as a data URI that a page can hold."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(rgb, quality=quality)).decode("ascii")


def jpeg(rgb: np.ndarray, *, quality: int, photograph: bool = False) -> bytes:
    """An image (H, W, 3) uint8 as a JPEG file.

    `photograph`: nothing is drawn on it, so that half the resolution of colours is enough; thin outlines would bleed.
    """
    colours = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if photograph else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, colours]
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)[1].tobytes()
