"""points.h5: one labelled point per instance. Read only by runs that declare point supervision (law 1)."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text


@dataclasses.dataclass(frozen=True, eq=False)
class Points(Record):
    """One image's point labels; the header holds `classes`."""

    KIND: ClassVar[str] = "points"
    SCHEMA: ClassVar[int] = 2

    image: str = text(about="id of the image")
    points: np.ndarray = array("int32", "points", 2, about="(y, x) in pixels; empty: none are known")
    classes: np.ndarray = array("int32", "points", about="class of each point")
