"""What the steps say of semantic maps: as many classes as fit, how much is labelled, and which images are not."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.core.artifacts.semantic_maps import MAX_CLASSES

log = logging.getLogger(__name__)
SHOWN = 5  # images that a message names


def check_class_count(classes: list[str], path: Path) -> None:
    """Raise ValueError where the classes do not fit one byte."""
    if len(classes) > MAX_CLASSES:
        raise ValueError(f"{path} has {len(classes)} classes; semantic maps hold at most {MAX_CLASSES}: list fewer")


def report_labels(images: Sequence[str], shares: list[list[float]]) -> None:
    """Log how much is labelled, from the shares of background and uncertain pixels of each image."""
    if shares:
        background, uncertain = (100 * np.mean(shares, axis=0)).tolist()
        log.info("%.1f %% of the pixels are background, %.1f %% uncertain", background, uncertain)
    undecided = [image for image, (_, uncertain) in zip(images, shares, strict=True) if uncertain == 1]
    if undecided:
        log.warning("%d of %d images are uncertain everywhere: %s", len(undecided), len(shares), listed(undecided))


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
