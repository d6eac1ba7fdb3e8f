"""labels.h5: the objects that one module of a cascade hands to the next (Label-PEnet)."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.instances import Instances
from stages.core.artifacts.records import Record, array, text
from stages.core.artifacts.regions import (
    atom_count_field,
    atoms_field,
    membership_field,
    packed_fields,
    unpacked_regions,
)
from stages.ops.regions import Regions


@dataclasses.dataclass(frozen=True, eq=False)
class ModuleLabels(Record):
    """One image's objects as a module sees them; there may be none.

    The header holds `classes`, `run`, `module` and `supervision`.
    """

    KIND: ClassVar[str] = "module labels"
    SCHEMA: ClassVar[int] = 2

    image: str = text(about="id of the image")
    atoms: np.ndarray = atoms_field()
    membership: np.ndarray = membership_field("instances")
    atom_count: int = atom_count_field()
    boxes: np.ndarray = array("float32", "instances", 4, about="x0, y0, x1, y1 of each object, in pixels")
    classes: np.ndarray = array("int32", "instances", about="class of each object")
    weights: np.ndarray = array("float32", "instances", about="how much each object counts in the losses, 0 to 1")
    attention: np.ndarray = array(
        "float16", "instances", "rows", "columns",
        about="what the CRF made each mask of, 0 to 1, on a small grid over the image",
    )  # fmt: skip

    @property
    def regions(self) -> Regions:
        """The objects' masks."""
        return unpacked_regions(self)

    @property
    def as_instances(self) -> Instances:
        """The objects as instances, weights as scores, best first."""
        order = np.argsort(-self.weights, kind="stable")
        return Instances(
            image=self.image,
            classes=self.classes[order],
            scores=self.weights[order],
            **packed_fields(self.regions.select(order)),
        )
