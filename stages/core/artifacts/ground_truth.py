"""ground_truth.h5: annotated instances. Only the stages evaluation and inspection read it (law 1)."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text
from stages.core.artifacts.regions import atom_count_field, atoms_field, membership_field, unpacked_regions
from stages.core.artifacts.semantic_maps import UNCERTAIN
from stages.ops.regions import Regions


@dataclasses.dataclass(frozen=True, eq=False)
class GroundTruth(Record):
    """One image's annotated instances; the header holds `classes` and `category_ids`."""

    KIND: ClassVar[str] = "ground_truth"
    SCHEMA: ClassVar[int] = 2

    image: str = text(about="id of the image")
    annotated: bool = array("bool", about="false: no masks are known for this image, so that it must be left out")
    atoms: np.ndarray = atoms_field()
    membership: np.ndarray = membership_field("instances")
    atom_count: int = atom_count_field()
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

    @property
    def semantic_map(self) -> np.ndarray:
        """Class of each pixel, (height, width) uint8: 0 background, 1 + k class k, 255 void.

        Where instances overlap the smallest one counts; pixels of a crowd that no instance covers are void, as other
        things may lie between. An image that is not annotated is void everywhere.
        """
        if not self.annotated:
            return np.full(self.atoms.shape, UNCERTAIN, np.uint8)
        regions = self.regions
        of_atom = np.zeros(int(self.atom_count), np.uint8)
        order = np.lexsort([-regions.areas(), ~self.crowd])  # crowds first, then from the largest to the smallest
        for i in order:
            of_atom[regions.membership[i]] = UNCERTAIN if self.crowd[i] else 1 + self.classes[i]
        labels = of_atom[self.atoms]
        labels[self.void_mask & (labels == 0)] = UNCERTAIN
        return labels
