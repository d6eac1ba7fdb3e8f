"""A sample of a data set by its tags: some images that show as many of each class as can be."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from stages.images.records import Tags
from stages.images.settings import SampleSettings


def sample_of(tags: Mapping[str, Tags], settings: SampleSettings, *, pointed: Collection[str] = ()) -> list[str]:
    """The images of a sample, in the order of `tags`; all where there are no more than wanted.

    Images are chosen one by one: next comes an image of the class that the fewest chosen ones are tagged with, of
    which some are left. To show none of the classes counts as one more class, and so does to have points where others
    have none. Images that nobody looked at come last,
    since nothing is learned from them. Within a class the seed alone decides, so that the sample of a smaller count
    lies in that of a larger one.

    Args:
        tags: what is known of each image, by its id.
        settings: count and seed.
        pointed: images with files of points.
    """
    images = list(tags)
    known = set(pointed)
    groups = np.array([_groups_of(found, image in known) for image, found in tags.items()], bool)
    order = np.random.default_rng(settings.seed).permutation(len(images))
    return [images[i] for i in sorted(_balanced(groups, order, min(settings.count, len(images))))]


def _groups_of(tags: Tags, pointed: bool) -> list[bool]:
    return [*tags.classes, tags.negative, pointed and tags.looked_at, not tags.looked_at]


def classes_left_out(tags: Mapping[str, Tags], sample: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Classes that images are tagged with, but none of the sample."""
    of_all = np.any([found.classes for found in tags.values()], axis=0)
    of_sample = np.any([tags[image].classes for image in sample], axis=0)
    return [classes[i] for i in np.flatnonzero(of_all & ~of_sample)]


def _balanced(groups: np.ndarray, order: np.ndarray, count: int) -> set[int]:
    """Positions of `count` images, of (images, groups) bool; the last group comes where no other is left."""
    last = groups.shape[1] - 1
    waiting = [[int(i) for i in order[::-1] if groups[i, group]] for group in range(last + 1)]
    shown = np.zeros(last + 1, int)
    chosen: set[int] = set()
    while len(chosen) < count:
        group = min((g for g in range(last + 1) if waiting[g]), key=lambda g: (g == last, shown[g]))
        image = waiting[group].pop()
        if image not in chosen:
            chosen.add(image)
            shown += groups[image]
    return chosen
