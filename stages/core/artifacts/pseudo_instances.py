"""pseudo_instances/{split}.h5: which parts of the semantic maps are taken for single instances (BESTIE)."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text


@dataclasses.dataclass(frozen=True, eq=False)
class PseudoInstances(Record):
    """One picture's semantic map, cues, and accepted components; centre and offset maps are made from these.

    The header holds `classes`, `run`, `supervision` and `counts` (cues, components and accepted of all pictures).
    """

    KIND: ClassVar[str] = "pseudo instances"
    SCHEMA: ClassVar[int] = 1

    picture: str = text("id of the picture")
    labels: np.ndarray = array(
        "uint8", "height", "width", about="semantic map: 0: background; 1 + k: class k; 255: uncertain"
    )
    instances: np.ndarray = array(
        "int32", "height", "width", about="0: no accepted component; 1 + i: accepted component i"
    )
    classes: np.ndarray = array("int32", "accepted", about="class of each accepted component")
    centroids: np.ndarray = array("float32", "accepted", 2, about="(y, x), the mean of the component's pixel indices")
    points: np.ndarray = array("float32", "cues", 2, about="(y, x) of the cues that count, in pixels of the picture")
    point_classes: np.ndarray = array("int32", "cues", about="class of each cue")
    point_scores: np.ndarray = array("float32", "cues", about="score of each cue; points: 1")
