"""What an imported file says about an image, and how it becomes ranked regions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.ops.regions import Regions


@dataclass(frozen=True)
class MaskList:
    """N masks of an image that are made one at a time, for all together may not fit into memory.

    Attributes:
        count: N.
        mask: i -> (H, W) bool.
        scores: (N,) float64, or None where the file has none: then the order is the ranking, best first.
    """

    count: int
    mask: Callable[[int], np.ndarray]
    scores: np.ndarray | None


@dataclass(frozen=True)
class SuperpixelList:
    """N regions as unions of superpixels.

    Attributes:
        labels: (H, W) int64, 0..S-1.
        regions: (N, S) bool.
        scores: as in MaskList.
    """

    labels: np.ndarray
    regions: np.ndarray
    scores: np.ndarray | None


class Ranked(NamedTuple):
    """Regions with scores (N,) float32 descending; `dropped` counts empty regions and repeats met on the way."""

    regions: Regions
    scores: np.ndarray
    dropped: int


def ranked(found: MaskList | SuperpixelList, *, shape: tuple[int, int], count: int, name: str) -> Ranked:
    """The best `count` different, non-empty regions.

    Args:
        found: what the file holds.
        shape: height and width of the image.
        count: how many to keep at most.
        name: of the file, for messages.

    Raises:
        ValueError: a mask of another size than the image, another number of scores than of masks, or a score that is
            not finite.
    """
    total = found.count if isinstance(found, MaskList) else len(found.regions)
    scores = _scores(found.scores, total, name)
    order = np.argsort(-scores, kind="stable")
    if isinstance(found, SuperpixelList):
        _check_shape(found.labels.shape, shape, name)
        used = np.bincount(found.labels.reshape(-1), minlength=found.regions.shape[1]) > 0
        rows = ((i, np.packbits(found.regions[i, used])) for i in order)
    else:
        rows = ((i, np.packbits(_checked_mask(found.mask(i), shape, name))) for i in order)
    kept: dict[bytes, int] = {}
    seen = 0
    for i, bits in rows:
        if len(kept) == count:
            break
        seen += 1
        if bits.any():
            kept.setdefault(bits.tobytes(), int(i))
    chosen = list(kept.values())
    if isinstance(found, SuperpixelList):
        regions = Regions.from_superpixels(found.labels, found.regions[chosen])
    else:
        packed = np.frombuffer(b"".join(kept), np.uint8).reshape(len(kept), -(-shape[0] * shape[1] // 8))
        masks = np.unpackbits(packed, axis=1, count=shape[0] * shape[1]).view(bool)
        regions = Regions.from_masks(masks.reshape(len(kept), *shape))
    return Ranked(regions, scores[chosen].astype(np.float32), seen - len(kept))


def _scores(scores: np.ndarray | None, total: int, name: str) -> np.ndarray:
    if scores is None:
        return 1 - np.arange(total) / max(total, 1)
    if len(scores) != total:
        raise ValueError(f"{name} has {total} regions but {len(scores)} scores; expected one each: the file was cut")
    if not np.isfinite(scores).all():
        raise ValueError(f"{name} has a score that is no finite number; repair the file or remove its scores")
    return scores


def _checked_mask(mask: np.ndarray, shape: tuple[int, int], name: str) -> np.ndarray:
    _check_shape(mask.shape, shape, name)
    return mask


def _check_shape(found: tuple[int, ...], expected: tuple[int, int], name: str) -> None:
    if tuple(found) != tuple(expected):
        raise ValueError(
            f"{name} has masks of shape {tuple(found)}, but its image is {tuple(expected)} (height, width): the file "
            "belongs to another image, or was made from a resized one; make it again from this image"
        )
