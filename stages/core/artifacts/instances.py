"""instances.h5: predicted instance masks."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text
from stages.core.artifacts.regions import atom_count_field, atoms_field, membership_field, unpacked_regions
from stages.core.artifacts.storage import Artifact
from stages.ops.regions import Regions


@dataclasses.dataclass(frozen=True, eq=False)
class Instances(Record):
    """One image's predicted instances, best first.

    Boxes are given where a method predicts them apart from its masks; else `found_boxes` are those of the masks. The
    header holds `classes`, `category_ids`, `run`, `method` and `supervision` ("image tags" or "points").
    """

    KIND: ClassVar[str] = "instances"
    SCHEMA: ClassVar[int] = 2

    image: str = text(about="id of the image")
    atoms: np.ndarray = atoms_field()
    membership: np.ndarray = membership_field("instances")
    atom_count: int = atom_count_field()
    classes: np.ndarray = array("int32", "instances", about="class of each instance")
    scores: np.ndarray = array("float32", "instances", about="confidence of each instance, descending")
    boxes: np.ndarray | None = array(
        "float32", "instances", 4, optional=True,
        about="predicted box of each instance (x0, y0, x1, y1), half-open, in pixels; absent: those of the masks",
    )  # fmt: skip

    @property
    def regions(self) -> Regions:
        """The instances' masks."""
        return unpacked_regions(self)

    @property
    def found_boxes(self) -> np.ndarray:
        """Boxes (N, 4) float64 (x0, y0, x1, y1), half-open, in pixels: predicted ones, else the masks' tight ones."""
        return np.asarray(self.regions.boxes() if self.boxes is None else self.boxes, np.float64)


def check_pseudo_masks(masks: Artifact[Instances]) -> None:
    """Raise ValueError unless the instances were chosen as pseudo masks: those count what was chosen from."""
    if "counts" not in masks.header:
        raise ValueError(f"{masks.path} holds plain predictions; give pseudo masks, which make_pseudo_masks writes")
