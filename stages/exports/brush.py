"""Masks as Label Studio's brush keeps them: bits that say the lengths of runs in the drawn RGBA image."""

import numpy as np

CHANNELS = 4  # red, green, blue, alpha
OPAQUE = 255
VALUE_BITS = 8
SIZE_BITS = np.array(
    [3, 4, 8, 16]
)  # of the length of a run; the file may choose the four, these are Label Studio's own
LONGEST = 1 << 16
COUNT_BITS = 32
CODE_BITS = 32  # a code is left-aligned in as many bits: flag 1, number of its size 2, length up to 16, value 8


def brush_runs(mask: np.ndarray) -> list[int]:
    """A mask (H, W) bool as the bytes of Label Studio's `rle`, row by row, 0 or 255 in all four channels.

    Bits of the header: 32 for the number of values H x W x 4, 5 for the bits of a value less 1, 4 x 4 for the sizes
    less 1. Bits of a run: 1, two for the number of its size, its length less 1 in that size, its value (rle-pack of
    thi.ng/umbrella, which Label Studio reads). Longer runs than 65536 values are several.

    Raises ValueError where the image is too large for the 32 bits.
    """
    if mask.size * CHANNELS >= 1 << COUNT_BITS:
        raise ValueError(
            f"an image of {mask.shape[0]}x{mask.shape[1]} pixels does not fit Label Studio's brush masks, which count "
            f"to {(1 << COUNT_BITS) // CHANNELS} pixels; export coco.json instead, or cut the image into tiles"
        )
    lengths, values = _runs(mask)
    kinds = np.searchsorted(1 << SIZE_BITS, lengths)
    bits = SIZE_BITS[kinds]
    codes = (((0b100 | kinds) << bits | (lengths - 1)) << VALUE_BITS) | values
    used = 3 + bits + VALUE_BITS
    header = _bits(
        np.array([mask.size * CHANNELS, VALUE_BITS - 1, *(SIZE_BITS - 1)]), np.array([COUNT_BITS, 5, 4, 4, 4, 4])
    )
    return np.packbits(np.concatenate([header, _bits(codes, used)])).tolist()


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (runs,) int64 of 1 to 65536 values, and the value 0 or 255 of each."""
    pixels = mask.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(pixels[1:] != pixels[:-1]) + 1])
    lengths = np.diff(starts, append=pixels.size) * CHANNELS
    pieces = -(-lengths // LONGEST)
    split = np.full(pieces.sum(), LONGEST)
    split[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * LONGEST
    return split, np.repeat(np.where(pixels[starts], OPAQUE, 0), pieces)


def _bits(codes: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The lowest `used` (n,) bits of each of the codes (n,), one after the other, as uint8 of 0 and 1."""
    aligned = (codes << (CODE_BITS - used)).astype(">u4")
    spread = np.unpackbits(aligned.view(np.uint8)).reshape(-1, CODE_BITS)
    return spread[np.arange(CODE_BITS) < used[:, None]]
