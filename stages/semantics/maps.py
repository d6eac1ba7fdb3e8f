"""What the steps ask of semantic maps: as many classes as fit, of the right pictures and classes."""

from collections.abc import Sequence
from pathlib import Path

from stages.core.artifacts.images import Picture
from stages.core.artifacts.semantic_maps import MOST_CLASSES, SemanticMaps
from stages.core.artifacts.storage import Artifact

SHOWN = 5  # pictures that a message names


def check_class_count(classes: list[str], path: Path) -> None:
    """Raise ValueError where the classes do not fit one byte."""
    if len(classes) > MOST_CLASSES:
        raise ValueError(f"{path} has {len(classes)} classes; semantic maps hold at most {MOST_CLASSES}: list fewer")


def check_maps(maps: Artifact[SemanticMaps], pictures: Artifact[Picture]) -> None:
    """Raise ValueError unless the maps are of the pictures' classes and have every picture."""
    if maps.header["classes"] != pictures.header["classes"]:
        raise ValueError(
            f"{maps.path} holds classes {maps.header['classes']}, {pictures.path} holds {pictures.header['classes']}; "
            "remake the maps from this list of pictures"
        )
    known = set(maps.ids)
    missing = [picture for picture in pictures.ids if picture not in known]
    if missing:
        raise ValueError(
            f"{maps.path} lacks {len(missing)} of the {len(pictures)} pictures of {pictures.path}: {listed(missing)}; "
            "remake the maps from this list of pictures"
        )


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
