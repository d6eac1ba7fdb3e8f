"""Masks as COCO run-length encodings (RLE), in and out.

An RLE is {"size": [height, width], "counts": ...}: lengths of alternating runs of 0 and 1, beginning with 0, down the
columns (column-major). Compressed counts are COCO's text form (pycocotools), uncompressed ones a list of integers.
Decoding is done here and not by pycocotools, whose C code trusts the counts that it is given.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from stages.ops.regions import Regions

# COCO's text form: five bits and a continuation flag in each character, from "0" on, the last one carrying the sign;
# from the fourth count on the difference to the count two before (rleToString in pycocotools' maskApi.c).
TEXT_OFFSET = 48
TEXT_VALUES = 64
DIGIT_BITS = 5
DIGIT = 0x1F
NEGATIVE = 0x10
CONTINUES = 0x20
MAX_DIGITS = 7
# Masks that are spread out as bitmaps at a time on the way from RLEs to regions; bounds the memory.
BATCH = 128


def encode(masks: np.ndarray) -> list[dict[str, Any]]:
    """Compressed RLEs of masks (N, H, W) bool, with text counts as JSON wants them."""
    _require_masks(masks)
    if not len(masks):
        return []
    encoded = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0)).view(np.uint8))
    return [{"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")} for rle in encoded]


def encode_uncompressed(masks: np.ndarray) -> list[dict[str, Any]]:
    """Uncompressed RLEs of masks (N, H, W) bool: counts are lists of integers."""
    _require_masks(masks)
    encoded = []
    for mask in masks:
        pixels = mask.T.reshape(-1)
        borders = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
        counts = np.diff(borders, prepend=0, append=len(pixels)).tolist()
        encoded.append({"size": list(mask.shape), "counts": [0, *counts] if pixels[0] else counts})
    return encoded


def decode(encodings: Sequence[Mapping[str, Any]], height: int, width: int) -> np.ndarray:
    """Masks (N, H, W) bool of RLEs, compressed (text or bytes) or not, each checked in full.

    ValueError, with the number of the RLE, where its size is not that of the image, its counts cannot be read, or
    they do not sum to the image.
    """
    masks = np.zeros((len(encodings), height, width), bool)
    for number, encoding in enumerate(encodings):
        counts = _counts(number, encoding, height, width)
        values = np.arange(len(counts)) % 2 == 1
        masks[number] = np.repeat(values, counts).reshape(width, height).T
    return masks


def encode_regions(regions: Regions, *, counted: np.ndarray | None = None) -> list[dict[str, Any]]:
    """Compressed RLEs of regions, equal to those of their masks, without drawing a mask.

    The runs of the atoms are found once; the runs of a region are those of its atoms, joined where neighbours agree.

    Args:
        regions: N regions.
        counted: (H, W) bool, pixels that stay in the regions; None: all.
    """
    regions, (height, width) = regions.numpy(), regions.shape
    atoms, starts = _runs(regions.atoms, counted)
    kept = None if counted is None else counted.T.reshape(-1)[starts]
    encoded = []
    for membership in regions.membership:
        inside = membership[atoms] if kept is None else membership[atoms] & kept
        borders = starts[1:][inside[1:] != inside[:-1]]
        counts = np.diff(borders, prepend=[0, 0] if inside[0] else [0], append=height * width).astype(np.uint32)
        compressed = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
        encoded.append({"size": [height, width], "counts": compressed["counts"].decode("ascii")})
    return encoded


def _runs(atoms: np.ndarray, counted: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Atom and first pixel of each run of one atom (and, if given, one value of `counted`) down the columns."""
    columns = np.ascontiguousarray(atoms.T).reshape(-1)
    ends = columns[1:] != columns[:-1]
    if counted is not None:
        kept = np.ascontiguousarray(counted.T).reshape(-1)
        ends |= kept[1:] != kept[:-1]
    starts = np.concatenate([[0], np.flatnonzero(ends) + 1])
    return columns[starts], starts


def decode_regions(encodings: Sequence[Mapping[str, Any]], height: int, width: int) -> Regions:
    """Regions of RLEs, a batch of bitmaps at a time. Errors as in `decode`; no RLEs give no regions."""
    if len(encodings) <= BATCH:
        return Regions.from_masks(decode(encodings, height, width))
    starts = range(0, len(encodings), BATCH)
    masks = (decode(encodings[start : start + BATCH], height, width) for start in starts)
    return Regions.concatenate([Regions.from_masks(batch) for batch in masks])


def _counts(number: int, encoding: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    """Run lengths (runs,) int64 of one RLE, which sum to the image."""
    if not isinstance(encoding, Mapping) or "counts" not in encoding or "size" not in encoding:
        found = sorted(encoding) if isinstance(encoding, Mapping) else type(encoding).__name__
        raise ValueError(f"RLE {number}: found {found}, expected an object with 'size' and 'counts'")
    size, counts = encoding["size"], encoding["counts"]
    if not isinstance(size, Sequence) or list(size) != [height, width]:
        raise ValueError(f"RLE {number}: its size is {size}, but the image's is [{height}, {width}] (height, width)")
    if isinstance(counts, str | bytes):
        runs = _read_text(number, counts.encode() if isinstance(counts, str) else counts)
    else:
        runs = _read_list(number, counts)
    if runs.min(initial=0) < 0 or runs.sum() != height * width:
        raise ValueError(
            f"RLE {number}: runs (smallest {runs.min(initial=0)}) sum to {runs.sum()}, expected sum "
            f"{height} x {width} = {height * width} pixels; the file is cut off or belongs to another image"
        )
    return runs


def _read_list(number: int, counts: object) -> np.ndarray:
    """Uncompressed counts as they stand in JSON."""
    if not isinstance(counts, Sequence | np.ndarray) or not all(
        isinstance(count, int | np.integer) and abs(int(count)) < 1 << 31 for count in counts
    ):
        raise ValueError(f"RLE {number}: counts are neither text nor a list of pixel counts ({str(counts)[:60]})")
    return np.asarray(counts, np.int64).reshape(-1)


def _read_text(number: int, text: bytes) -> np.ndarray:
    """Counts from COCO's text form."""
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - TEXT_OFFSET
    ends = np.flatnonzero(digits & CONTINUES == 0) + 1
    lengths = np.diff(ends, prepend=0)
    valid = len(digits) == 0 or (digits.min() >= 0 and digits.max() < TEXT_VALUES)
    if not valid or (ends[-1] if len(ends) else 0) != len(digits) or lengths.max(initial=0) > MAX_DIGITS:
        raise ValueError(f"RLE {number}: counts {text[:40]!r}... are not COCO's compressed text; the file is damaged")
    if not len(digits):
        return np.zeros(0, np.int64)
    starts = ends - lengths
    place = np.arange(len(digits)) - np.repeat(starts, lengths)
    counts = np.add.reduceat((digits & DIGIT) << (DIGIT_BITS * place), starts)
    counts -= np.where(digits[ends - 1] & NEGATIVE, np.int64(1) << (DIGIT_BITS * lengths), 0)
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts


def _require_masks(masks: np.ndarray) -> None:
    if masks.ndim != 3 or masks.dtype != bool or 0 in masks.shape[1:]:
        raise ValueError(
            f"RLE: masks are {masks.dtype} {masks.shape}, expected bool (masks, height, width) with pixels"
        )
