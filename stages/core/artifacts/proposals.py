"""proposals/{source}.h5: candidate regions of every image."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from stages.core.artifacts.records import Record, array, text
from stages.core.artifacts.regions import atom_count_field, atoms_field, membership_field, unpacked_regions
from stages.core.artifacts.storage import Artifact
from stages.core.artifacts.supervision import TAGS
from stages.ops.regions import Regions

Supervision = Literal["label-free", "class-agnostic boundaries", "class-agnostic masks"]


@dataclasses.dataclass(frozen=True, eq=False)
class Proposals(Record):
    """One image's proposals, best first.

    The header holds `source` (name in the config) and `supervision`: what labels the source has seen, one of
    "label-free", "class-agnostic boundaries" and "class-agnostic masks". Where semantic maps have ranked them it also
    holds `classes`, and `ranked_by`: the supervision of the maps.
    """

    KIND: ClassVar[str] = "proposals"
    SCHEMA: ClassVar[int] = 2

    image: str = text(about="id of the image")
    atoms: np.ndarray = atoms_field()
    membership: np.ndarray = membership_field("regions")
    atom_count: int = atom_count_field()
    scores: np.ndarray = array("float32", "regions", about="the source's own score of each region, descending")
    class_scores: np.ndarray | None = array(
        "float32", "regions", "classes", optional=True,
        about="the source's score of each region for each class, above 0; absent: it knows no classes",
    )  # fmt: skip

    @property
    def regions(self) -> Regions:
        """The proposals' masks."""
        return unpacked_regions(self)


def ranked_by(proposals: Artifact[Proposals] | None) -> str:
    """What people have given for the order of proposals, as for `joint_supervision`; image tags where it is nothing."""
    return TAGS if proposals is None else str(proposals.header.get("ranked_by", TAGS))
