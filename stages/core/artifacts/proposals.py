"""proposals/{source}.h5: candidate regions of every image."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from stages.core.artifacts.records import Record, array, text
from stages.core.artifacts.regions import atom_count_field, atoms_field, membership_field, unpacked_regions
from stages.ops.regions import Regions

Supervision = Literal["label-free", "class-agnostic boundaries", "class-agnostic masks"]


@dataclasses.dataclass(frozen=True, eq=False)
class Proposals(Record):
    """One image's proposals, best first.

    The header holds `source` (name in the config) and `supervision`: what labels the source has seen, one of
    "label-free", "class-agnostic boundaries" and "class-agnostic masks".
    """

    KIND: ClassVar[str] = "proposals"
    SCHEMA: ClassVar[int] = 2

    image: str = text(about="id of the image")
    atoms: np.ndarray = atoms_field()
    membership: np.ndarray = membership_field("regions")
    atom_count: int = atom_count_field()
    scores: np.ndarray = array("float32", "regions", about="the source's own score of each region, descending")

    @property
    def regions(self) -> Regions:
        """The proposals' masks."""
        return unpacked_regions(self)
