"""ground_truth.h5: annotated instances. Only the stages evaluation and inspection read it (law 1)."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.masks import ATOM_COUNT, ATOMS, membership_about, unpacked_regions
from stages.core.artifacts.records import Record, array, text
from stages.ops.regions import Regions


@dataclasses.dataclass(frozen=True, eq=False)
class GroundTruth(Record):
    """One picture's annotated instances; the header holds `classes` and `category_ids`."""

    KIND: ClassVar[str] = "ground_truth"
    SCHEMA: ClassVar[int] = 1

    picture: str = text("id of the picture")
    annotated: bool = array("bool", about="false: no masks are known for this picture, so that it must be left out")
    atoms: np.ndarray = array("uint32", "height", "width", about=ATOMS)
    membership: np.ndarray = array("uint8", "instances", "membership_bytes", about=membership_about("instances"))
    atom_count: int = array("int32", about=ATOM_COUNT)
    void: np.ndarray = array("uint8", "void_bytes", about="which atoms are void (unlabelled), bits packed; or empty")
    classes: np.ndarray = array("int32", "instances", about="class of each instance")
    crowd: np.ndarray = array("bool", "instances", about="the mask covers a crowd: matches with it do not count")
    difficult: np.ndarray = array("bool", "instances", about="marked difficult by the annotators")
    annotation_ids: np.ndarray = array("int64", "instances", about="official id of each instance, for export")

    @property
    def regions(self) -> Regions:
        """The instances' masks."""
        return unpacked_regions(self)

    @property
    def void_mask(self) -> np.ndarray:
        """Void pixels, (height, width) bool."""
        if not self.void.size:
            return np.zeros(self.atoms.shape, bool)
        return np.unpackbits(self.void, count=int(self.atom_count)).astype(bool)[self.atoms]
