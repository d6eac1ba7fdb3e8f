"""cues/{classifier}.h5: where a classifier (or a person who set points) sees each class."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text


@dataclasses.dataclass(frozen=True, eq=False)
class Cues(Record):
    """One image's class response maps and peaks.

    The header holds `classes`, `head` and `supervision` ("image tags", "points", or "image tags + points on n of m
    images"). Peaks are ordered by class, then row by row, and kept for classes that are tagged or predicted; points
    keep the order of their file.
    """

    KIND: ClassVar[str] = "cues"
    SCHEMA: ClassVar[int] = 2

    image: str = text(about="id of the image")
    responses: np.ndarray = array(
        "float32", "classes", "rows", "columns",
        about="class response maps (logits) that cover the whole image, at the network's resolution; points: 0 rows",
    )  # fmt: skip
    class_scores: np.ndarray = array("float32", "classes", about="the classifier's logit of each class")
    peaks: np.ndarray = array("int32", "peaks", 2, about="(y, x) in pixels of the image")
    peak_classes: np.ndarray = array("int32", "peaks", about="class of each peak")
    peak_scores: np.ndarray = array("float32", "peaks", about="response at each peak; points: 1")

    @property
    def from_points(self) -> bool:
        """Whether people set the peaks: points come without response maps."""
        return self.responses.shape[1] == 0
