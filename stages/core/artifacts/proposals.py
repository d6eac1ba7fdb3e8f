"""proposals/{source}.h5: candidate regions of every picture."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from stages.core.artifacts.records import Record, array, text
from stages.core.artifacts.regions import ATOM_COUNT, ATOMS, membership_about, unpacked_regions
from stages.ops.regions import Regions

Supervision = Literal["label-free", "class-agnostic boundaries", "class-agnostic masks"]


@dataclasses.dataclass(frozen=True, eq=False)
class Proposals(Record):
    """One picture's proposals, best first.

    The header holds `source` (name in the config) and `supervision`: what labels the source has seen, one of
    "label-free", "class-agnostic boundaries" and "class-agnostic masks".
    """

    KIND: ClassVar[str] = "proposals"
    SCHEMA: ClassVar[int] = 1

    picture: str = text("id of the picture")
    atoms: np.ndarray = array("uint32", "height", "width", about=ATOMS)
    membership: np.ndarray = array("uint8", "regions", "membership_bytes", about=membership_about("regions"))
    atom_count: int = array("int32", about=ATOM_COUNT)
    scores: np.ndarray = array("float32", "regions", about="the source's own score of each region, descending")

    @property
    def regions(self) -> Regions:
        """The proposals' masks."""
        return unpacked_regions(self)
