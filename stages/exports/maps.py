"""Instances as maps of numbers: one value per pixel, and PNG files that hold them."""

from pathlib import Path

import numpy as np
from PIL import Image

from stages.ops.regions import Regions

LARGEST_BYTE = 255
LARGEST_SHORT = 65535
VOC_COLOURS = 256


def instance_map(regions: Regions) -> tuple[np.ndarray, np.ndarray]:
    """Which instance each pixel shows, where the first of several wins; the others may be hidden altogether.

    Returns:
        numbers: (H, W) int32, 0 for background, k for the k-th visible instance.
        visible: (n,) int64, index among the regions of each visible instance, ascending.
    """
    if not len(regions):
        return np.zeros(regions.shape, np.int32), np.zeros(0, np.int64)
    # Of each atom, the first region that holds it: no mask is ever drawn.
    owner = np.where(regions.membership.any(axis=0), regions.membership.argmax(axis=0) + 1, 0)
    visible = np.setdiff1d(owner[regions.sizes > 0], 0)
    return np.searchsorted(visible, owner).astype(np.int32)[regions.atoms] + (owner > 0)[regions.atoms], visible - 1


def voc_palette() -> np.ndarray:
    """VOC's colour of each value, (256, 3) uint8 RGB: the bits of the value, dealt to the channels (VOCdevkit)."""
    values, colours = np.arange(VOC_COLOURS), np.zeros((VOC_COLOURS, 3), np.int64)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= ((values >> (3 * place + channel)) & 1) << (7 - place)
    return colours.astype(np.uint8)


def write_palette_png(path: Path, values: np.ndarray, palette: np.ndarray) -> None:
    """Values (H, W) of 0 to 255 as an 8-bit PNG with a palette (256, 3) uint8."""
    image = Image.fromarray(values.astype(np.uint8)).convert("L")
    image.putpalette(palette.reshape(-1).tolist(), "RGB")
    image.save(path)


def write_number_png(path: Path, values: np.ndarray) -> None:
    """Values (H, W) as a grey PNG of 8 bits, or of 16 where some value is above 255. Raises ValueError above 65535."""
    largest = int(values.max(initial=0))
    if largest > LARGEST_SHORT:
        raise ValueError(f"{path.name}: {largest} instances do not fit a PNG of 16 bits; lower top_k in exports")
    Image.fromarray(values.astype(np.uint8 if largest <= LARGEST_BYTE else np.uint16)).save(path)
