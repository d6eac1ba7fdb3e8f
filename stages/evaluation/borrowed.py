"""What runs stand on that another project has made: where it comes from, and how it would be made here."""

import dataclasses
from pathlib import Path
from typing import Any

from stages.core.artifacts.files import read_json
from stages.evaluation.settings_table import flat_settings, setting_text

SHOWN = 12  # characters of a digest


@dataclasses.dataclass(frozen=True)
class BorrowedRow:
    """One borrowed artifact, of all its splits.

    Attributes:
        name: section of `borrow` and name in it.
        step: what made it in the other project.
        files: path and SHA-256 of each file there.
        earlier: paths of the files from which the other project has borrowed it in its turn, the nearest first.
        differences: settings by dotted key that are otherwise here: theirs and ours; null: it has none of that name.
    """

    name: str
    step: str
    files: list[tuple[str, str]]
    earlier: list[str]
    differences: dict[str, tuple[Any, Any]]

    def cells(self) -> list[str]:
        """Name, files with the start of their digests, step, and settings that differ, as text."""
        files = ", ".join(f"{path} ({digest[:SHOWN]})" for path, digest in self.files)
        earlier = "".join(f"; there from {path}" for path in self.earlier)
        differing = ", ".join(
            f"{key}: {setting_text(theirs)} (here {setting_text(ours)})"
            for key, (theirs, ours) in self.differences.items()
        )
        return [self.name, f"{files}{earlier}", self.step, differing or "-"]


def borrowed_rows(paths: list[Path], own: dict[str, dict[str, Any]]) -> list[BorrowedRow]:
    """A row for each borrowed artifact, in the order of the notes.

    Args:
        paths: notes that `borrow_artifact` has written.
        own: settings with which artifacts would be made here, by name; of others no settings are compared.

    Raises ValueError for a file that is no note.
    """
    notes: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        note = read_json(path)
        if not isinstance(note, dict) or not {"name", "step", "from", "sha256"} <= note.keys():
            raise ValueError(f"{path} does not say where its artifact comes from; remove it and run again")
        notes.setdefault(note["name"], []).append(note)
    return [_row(name, found, own.get(name)) for name, found in notes.items()]


def _row(name: str, notes: list[dict[str, Any]], own: dict[str, Any] | None) -> BorrowedRow:
    first, earlier = notes[0], []
    before = first.get("earlier")
    while before is not None:
        earlier.append(before["from"])
        before = before.get("earlier")
    files = [(note["from"], note["sha256"]) for note in notes]
    differences = {} if own is None else _differences(first.get("settings") or {}, own)
    return BorrowedRow(name, first["step"], files, earlier, differences)


def _differences(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    left, right = flat_settings(theirs), flat_settings(ours)
    keys = dict.fromkeys([*left, *right])
    return {key: (left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)}
