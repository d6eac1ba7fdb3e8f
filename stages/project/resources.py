"""Memory and time that jobs ask for: they grow with the number of images and with each further attempt.

No further attempt asks for more than the largest partition of profiles/slurm has, since it would never start.

The numbers stand in the rules. Where the list of images is not made yet, as in a dry run of everything, Snakemake shows
<TBD> and asks again once it is there.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

GROWTH = 1.5  # of memory and time from one attempt to the next
MOST_ATTEMPTS = 5  # from which on nothing grows any more

Resource = Callable[..., int]  # from Snakemake's wildcards, input and attempt


def training_gpus(gpus: int, nodes: int) -> dict[str, int | str]:
    """GPUs of a training, as resources: `gpu` on one node; on several, how many on each, in words of Slurm's plugin."""
    return {"gpu": gpus} if nodes == 1 else {"gres": f"gpu:{gpus}", "nodes": nodes}


def memory(megabytes: int, *, per_image: float = 0.0) -> Resource:
    """MB of memory: a least, and for steps that keep something of every image so much per image."""
    return _growing(megabytes, per_image, "max_mem_mb")


def minutes(least: int, *, per_1000_images: float = 0.0) -> Resource:
    """Minutes of wall time: a least, and for steps that go through all images so much per thousand of them."""
    return _growing(least, per_1000_images / 1000, "max_runtime")


def count_images(path: str | Path) -> int:
    """How many images an images.h5 lists. Raises FileNotFoundError where it is not made yet."""
    # Not on the way to a plan without images.
    from stages.core.artifacts.hdf5 import naming, open_hdf5

    path, remedy = Path(path), "remove it and run again"
    path.stat()  # whose error names the file as Snakemake wants it, to know an input that is not made yet
    with open_hdf5(path, remedy=remedy) as file, naming(path, remedy=remedy):
        return len(file["image/values"])


def most(limit: str) -> float:
    """The largest `max_mem_mb` (MB) or `max_runtime` (minutes) of the partitions; infinite where one has none."""
    partitions = os.environ.get("SNAKEMAKE_SLURM_PARTITIONS")
    if partitions is None or not Path(partitions).is_file():
        return math.inf
    from snakemake_executor_plugin_slurm.partitions import read_partition_file  # not on the way to a plan

    return max((getattr(one.limits, limit) for one in read_partition_file(Path(partitions))), default=math.inf)


def _growing(least: int, per_image: float, limit: str) -> Resource:
    def amount(wildcards: Any, input: Any, attempt: int) -> int:
        images = count_images(input.images) if per_image else 0
        first = least + per_image * images
        if attempt == 1:
            return round(first)
        grown = first * GROWTH ** min(attempt - 1, MOST_ATTEMPTS - 1)
        return round(max(first, min(grown, most(limit))))

    return amount
