"""Records that hold regions of a picture: an atom map and a packed membership matrix."""

from typing import Any

import numpy as np

from stages.ops.regions import Regions

ATOMS = "index of the atom that each pixel belongs to; an atom is a largest piece that no region cuts"
ATOM_COUNT = "number of atoms of the picture"


def membership_about(axis: str) -> str:
    """Description of a membership field over `axis`."""
    return f"which atoms each of the {axis} holds: bits over atoms, packed by np.packbits(axis=1)"


def packed_fields(regions: Regions) -> dict[str, Any]:
    """The fields `atoms`, `membership` and `atom_count` of a record from regions."""
    atoms, membership, atom_count = regions.packed()
    return {"atoms": atoms, "membership": membership, "atom_count": np.int32(atom_count)}


def unpacked_regions(record: Any) -> Regions:
    """The regions of a record that has the fields `atoms`, `membership` and `atom_count`."""
    return Regions.from_packed(record.atoms, record.membership, int(record.atom_count))
