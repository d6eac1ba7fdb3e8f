"""Reads PNG maps whose pixels are numbers (instance ids, classes), not colours."""

from pathlib import Path

import numpy as np
from PIL import Image

from stages.core.images.loading import DAMAGED

# One bit, palette index or grey value; other modes are colours.
NUMBER_MODES = ("1", "P", "L", "I", "I;16", "I;16B", "I;16L")


def read_index_map(path: Path, height: int, width: int) -> np.ndarray:
    """The numbers of a PNG map as (height, width) int32; a palette image gives its indices, one bit 0 and 1.

    Raises FileNotFoundError, or ValueError where the file is damaged, in colour, or not as large as its image.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; restore it")
    try:
        image = Image.open(path)
    except (*DAMAGED, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path} cannot be decoded ({error}); restore it") from error
    with image:
        if image.mode not in NUMBER_MODES:
            raise ValueError(
                f"{path} holds colours (mode {image.mode}), expected a palette or grey PNG of numbers; convert it"
            )
        check_size(image.size[::-1], height, width, str(path))
        try:
            return np.array(image).astype(np.int32)
        except DAMAGED as error:
            raise ValueError(f"{path} cannot be decoded ({error}); restore it") from error


def check_size(found: tuple[int, ...], height: int, width: int, name: str) -> None:
    """Raise ValueError where a mask is not as large as its image."""
    if tuple(found) != (height, width):
        raise ValueError(
            f"{name} is {found[0]}x{found[1]} pixels (height x width), but its image is {height}x{width} after EXIF "
            "orientation; masks and image must be of the same version of the data"
        )
