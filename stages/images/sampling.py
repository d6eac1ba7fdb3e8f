"""A sample of a data set by its tags: some images that show as many of each class as can be."""

from collections.abc import Mapping, Sequence

import numpy as np

from stages.images.settings import SampleSettings


def sample_of(tags: Mapping[str, np.ndarray], settings: SampleSettings) -> list[str]:
    """The images of a sample, in the order of `tags`; all where there are no more than wanted.

    Images are chosen one by one: next comes an image of the class that the fewest chosen ones are tagged with, of
    which some are left. No tag at all counts as one more class. Within a class the seed alone decides, so that the
    sample of a smaller count lies in that of a larger one.

    Args:
        tags: (classes,) bool of each image, by its id.
        settings: count and seed.
    """
    images = list(tags)
    rows = np.stack([_with_nothing(row) for row in tags.values()]) if images else np.zeros((0, 1), bool)
    chosen = _balanced(rows, np.random.default_rng(settings.seed).permutation(len(images)), settings.count)
    return [images[i] for i in sorted(chosen)]


def classes_left_out(tags: Mapping[str, np.ndarray], sample: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Classes that images are tagged with, but none of the sample."""
    of_all = np.any(list(tags.values()), axis=0)
    of_sample = np.any([tags[image] for image in sample], axis=0)
    return [classes[i] for i in np.flatnonzero(of_all & ~of_sample)]


def _with_nothing(row: np.ndarray) -> np.ndarray:
    """The tags of an image with one more column: it has none."""
    return np.append(row, not row.any())


def _balanced(rows: np.ndarray, order: np.ndarray, count: int) -> list[int]:
    """Positions of the rows (images, groups) that are chosen, at most `count`."""
    waiting = [[int(i) for i in order[::-1] if rows[i, group]] for group in range(rows.shape[1])]
    shown = np.zeros(rows.shape[1], int)
    chosen: set[int] = set()
    while len(chosen) < min(count, len(rows)):
        group = min((g for g in range(len(waiting)) if waiting[g]), key=lambda g: (shown[g], g))
        image = waiting[group].pop()
        if image not in chosen:
            chosen.add(image)
            shown += rows[image]
    return list(chosen)
