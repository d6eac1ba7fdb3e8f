"""Memory and time that jobs ask for: they grow with the number of images and with each further attempt.

The numbers stand in the rules. Where the list of images is not made yet, as in a dry run of everything, Snakemake shows
<TBD> and asks again once it is there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

GROWTH = 1.5  # of memory and time from one attempt to the next
MOST_ATTEMPTS = 5  # from which on nothing grows any more

Resource = Callable[..., int]  # from Snakemake's wildcards, input and attempt


def memory(megabytes: int, *, per_image: float = 0.0) -> Resource:
    """MB of memory: a least, and for steps that keep something of every image so much per image."""
    return _growing(megabytes, per_image)


def minutes(least: int, *, per_1000_images: float = 0.0) -> Resource:
    """Minutes of wall time: a least, and for steps that go through all images so much per thousand of them."""
    return _growing(least, per_1000_images / 1000)


def count_images(path: str | Path) -> int:
    """How many images an images.h5 lists. Raises FileNotFoundError where it is not made yet."""
    # Not on the way to a plan without images.
    from stages.core.artifacts.hdf5 import naming, open_hdf5

    path, remedy = Path(path), "remove it and run again"
    path.stat()  # whose error names the file as Snakemake wants it, to know an input that is not made yet
    with open_hdf5(path, remedy=remedy) as file, naming(path, remedy=remedy):
        return len(file["image/values"])


def _growing(least: int, per_image: float) -> Resource:
    def amount(wildcards: Any, input: Any, attempt: int) -> int:
        images = count_images(input.images) if per_image else 0
        return round((least + per_image * images) * GROWTH ** min(attempt - 1, MOST_ATTEMPTS - 1))

    return amount
