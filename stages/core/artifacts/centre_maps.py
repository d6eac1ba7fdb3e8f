"""maps.h5: what BESTIE's network says of centres and offsets, small enough to keep and to look at."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text


@dataclasses.dataclass(frozen=True, eq=False)
class CentreMaps(Record):
    """One picture's centre and offset maps, made small: a cell stands for a rectangle of pixels.

    The header holds `classes`, `run` and `supervision`.
    """

    KIND: ClassVar[str] = "centre maps"
    SCHEMA: ClassVar[int] = 1

    picture: str = text(about="id of the picture")
    heat: np.ndarray = array(
        "float16", "rows", "columns", about="highest heat of a centre of any class in each cell; about 1 at a centre"
    )
    offsets: np.ndarray = array(
        "float16", 2, "rows", "columns",
        about="(dy, dx) from the middle of each cell to the centre of its instance, in pixels of the picture",
    )  # fmt: skip
