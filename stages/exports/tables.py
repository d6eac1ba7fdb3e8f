"""The list of exported instances: which image, which number in its file, which class, which score."""

import contextlib
import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from stages.exports.names import decimal

COLUMNS = ("image", "instance", "class", "score")


@contextlib.contextmanager
def instances_table(folder: Path) -> Iterator[Callable[[str, int, str, np.float32], None]]:
    """A function that adds a row to instances.csv in the folder: image, number in its file, class, score."""
    with (folder / "instances.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        yield lambda image, number, name, score: table.writerow([image, number, name, decimal(score)])
