"""suspect_tags/fold_{fold}/scores.h5: what a classifier says of images that it was not trained on."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text


@dataclasses.dataclass(frozen=True, eq=False)
class TagScores(Record):
    """One image's scores; the header holds `classes`, `fold` and `weights` (digest of those that scored)."""

    KIND: ClassVar[str] = "tag scores"
    SCHEMA: ClassVar[int] = 1

    image: str = text(about="id of the image")
    scores: np.ndarray = array("float32", "classes", about="the classifier's logit of each class")
