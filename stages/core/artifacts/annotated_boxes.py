"""boxes.h5: annotated boxes. Only the stage evaluation reads it (law 1)."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedBoxes(Record):
    """One image's annotated boxes; the header holds `classes`, `category_ids` and `split`.

    They are no field of the ground truth: many images have boxes and no masks, such as most of VOC's.
    """

    KIND: ClassVar[str] = "annotated boxes"
    SCHEMA: ClassVar[int] = 1

    image: str = text(about="id of the image")
    annotated: bool = array("bool", about="false: no boxes are known for this image, so that it must be left out")
    height: int = array("int32", about="pixels; height of the image")
    width: int = array("int32", about="pixels; width of the image")
    boxes: np.ndarray = array(
        "float32",
        "objects",
        4,
        about="box of each object (x0, y0, x1, y1), half-open, in pixels, x0 = y0 = 0 at the corner",
    )
    classes: np.ndarray = array("int32", "objects", about="class of each object")
    crowd: np.ndarray = array("bool", "objects", about="the box covers a crowd: matches with it do not count")
    difficult: np.ndarray = array("bool", "objects", about="marked difficult by the annotators")
