"""pseudo_instances/{split}.h5: which parts of the semantic maps are taken for single instances (BESTIE)."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.instances import Instances
from stages.core.artifacts.records import Record, array, text
from stages.core.artifacts.regions import packed_fields
from stages.ops.regions import Regions


@dataclasses.dataclass(frozen=True, eq=False)
class PseudoInstances(Record):
    """One image's semantic map, cues, and accepted components; center and offset maps are made from these.

    The header holds `classes`, `run`, `supervision` and `cues` (kind of the classifier's head, "points", or
    "predictions of" an earlier run).
    """

    KIND: ClassVar[str] = "pseudo instances"
    SCHEMA: ClassVar[int] = 3

    image: str = text(about="id of the image")
    labels: np.ndarray = array(
        "uint8", "height", "width", about="semantic map: 0: background; 1 + k: class k; 255: uncertain"
    )
    instances: np.ndarray = array(
        "int32", "height", "width", about="0: no accepted component; 1 + i: accepted component i"
    )
    candidates: int = array("int32", about="components that could have been accepted")
    classes: np.ndarray = array("int32", "accepted", about="class of each accepted component")
    centroids: np.ndarray = array("float32", "accepted", 2, about="(y, x), the mean of the component's pixel indices")
    points: np.ndarray = array("float32", "cues", 2, about="(y, x) of the cues that count, in pixels of the image")
    point_classes: np.ndarray = array("int32", "cues", about="class of each cue")
    point_scores: np.ndarray = array("float32", "cues", about="score of each cue; points: 1")
    by_points: bool = array("bool", about="whether people set the cues of this image")

    @property
    def regions(self) -> Regions:
        """The accepted components."""
        count = len(self.classes)
        return Regions.from_superpixels(self.instances, np.eye(count, count + 1, 1, dtype=bool))

    @property
    def as_instances(self) -> Instances:
        """The accepted components, all with score 1."""
        return Instances(
            image=self.image,
            classes=self.classes,
            scores=np.ones(len(self.classes), np.float32),
            **packed_fields(self.regions),
        )
