"""refined_labels/{split}.h5: the instances that BESTIE's self-refinement would learn from, at several updates."""

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
class RefinedLabels(Record):
    """One image's labels that a training makes for itself, at each update; by update, within one best first.

    The header holds `classes`, `run`, `supervision` and `updates`: all that were looked at, the last one with the
    weights that the training ended with; and `module` where a module of a cascade makes them.
    """

    KIND: ClassVar[str] = "refined labels"
    SCHEMA: ClassVar[int] = 2

    image: str = text(about="id of the image")
    atoms: np.ndarray = atoms_field()
    membership: np.ndarray = membership_field("instances")
    atom_count: int = atom_count_field()
    classes: np.ndarray = array("int32", "instances", about="class of each instance")
    scores: np.ndarray = array(
        "float32", "instances", about="weight of the instance's pixels in the loss, 0 to 1 (equation 2); points: 1"
    )
    updates: np.ndarray = array("int32", "instances", about="updates of the network that gave the instance")

    @property
    def regions(self) -> Regions:
        """The instances' masks, of all updates."""
        return unpacked_regions(self)

    def after(self, update: int) -> Instances:
        """The instances of one update, best first."""
        chosen = np.flatnonzero(self.updates == update)
        return Instances(
            image=self.image,
            classes=self.classes[chosen],
            scores=self.scores[chosen],
            **packed_fields(self.regions.select(chosen)),
        )
