"""maps.h5: what BESTIE's network says of centers and offsets, small enough to keep and to look at."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text


@dataclasses.dataclass(frozen=True, eq=False)
class CenterMaps(Record):
    """One image's center and offset maps, made small: a cell stands for a rectangle of pixels.

    The header holds `classes`, `run` and `supervision`.
    """

    KIND: ClassVar[str] = "center maps"
    SCHEMA: ClassVar[int] = 2

    image: str = text(about="id of the image")
    heatmap: np.ndarray = array(
        "float16", "rows", "columns", about="highest score of a center of any class in each cell; about 1 at a center"
    )
    offsets: np.ndarray = array(
        "float16", 2, "rows", "columns",
        about="(dy, dx) from the middle of each cell to the center of its instance, in pixels of the image",
    )  # fmt: skip
