"""Records that hold regions of an image: an atom map and a packed membership matrix."""

from typing import Any

import numpy as np

from stages.core.artifacts.records import array
from stages.ops.regions import Regions


def atoms_field() -> Any:
    """Declare the field `atoms` of a record that holds regions."""
    return array(
        "uint32",
        "height",
        "width",
        about="index of the atom that each pixel belongs to; an atom is a largest piece that no region cuts",
    )


def membership_field(axis: str) -> Any:
    """Declare the field `membership` of a record whose regions lie along `axis`."""
    return array(
        "uint8",
        axis,
        "membership_bytes",
        about=f"which atoms each of the {axis} holds: bits over atoms, packed by np.packbits(axis=1)",
    )


def atom_count_field() -> Any:
    """Declare the field `atom_count` of a record that holds regions."""
    return array("int32", about="number of atoms of the image")


def packed_fields(regions: Regions) -> dict[str, Any]:
    """The fields `atoms`, `membership` and `atom_count` of a record from regions."""
    atoms, membership, atom_count = regions.packed()
    return {"atoms": atoms, "membership": membership, "atom_count": np.int32(atom_count)}


def unpacked_regions(record: Any) -> Regions:
    """The regions of a record that has the fields `atoms`, `membership` and `atom_count`."""
    return Regions.from_packed(record.atoms, record.membership, int(record.atom_count))
