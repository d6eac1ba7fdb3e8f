"""What every reader of tags gives: for each image the names that it may have, and its labels."""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from stages.core.config.spelling import did_you_mean
from stages.images.dataset import listed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One image: names that it may have in the folder, likeliest first, its labels, and where they stand."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class Tags:
    """What a file or folder of tags says.

    Attributes:
        path: the file or folder.
        entries: one for each image that it lists.
        strict: every label must be a class; else those of no class are left out, as an export may have more labels.
        declared: all labels that the source says there are, used or not; None where it does not say.
    """

    path: Path
    entries: list[Entry]
    strict: bool
    declared: tuple[str, ...] | None = None


def check_labels(tags: Tags, classes: list[str]) -> None:
    """Say which labels are no classes.

    Raises ValueError where they may not be there, where one differs from a class in letter case alone, or where a class
    is not among the declared labels, or no class among any.
    """
    unknown = [
        f"{label!r} of {e.names[0]} ({e.where})" for e in tags.entries for label in e.labels if label not in classes
    ]
    known = ", ".join(classes)
    if tags.strict and unknown:
        raise ValueError(
            f"{tags.path} has tags that are not among the classes {known}: {listed(unknown)}; mend the tags, or "
            "add the class to images.classes"
        )
    used = Counter(label for entry in tags.entries for label in entry.labels)
    labels = list(dict.fromkeys([*(tags.declared or ()), *used]))
    _check_classes(tags, classes, labels)
    others = {label: count for label, count in used.items() if label not in classes}
    if others:
        log.warning(
            "%s has labels that are not among the classes %s; they are left out: %s",
            tags.path, known, listed([f"{label} {count}" for label, count in others.items()]),
        )  # fmt: skip


def _check_classes(tags: Tags, classes: list[str], labels: list[str]) -> None:
    spelt = {label.strip().casefold(): label for label in labels if label not in classes}
    missing = [name for name in classes if name not in labels]
    near = [f"{spelt[name.casefold()]!r} for {name!r}" for name in missing if name.strip().casefold() in spelt]
    if near:
        raise ValueError(f"{tags.path} writes {listed(near)}; write the label and the class in images.classes alike")
    if missing and (tags.declared is not None or (labels and len(missing) == len(classes))):
        hint = did_you_mean(missing[0], labels)
        raise ValueError(
            f"{tags.path} has no label {', '.join(missing)} of images.classes; its labels are {listed(labels)}{hint}"
        )


def merged(entries: list[Entry]) -> list[Entry]:
    """One entry for each image, with all labels that any of its entries has, in order."""
    together: dict[tuple[str, ...], Entry] = {}
    for entry in entries:
        first = together.setdefault(entry.names, entry)
        labels = tuple(dict.fromkeys([*first.labels, *entry.labels]))
        together[entry.names] = Entry(entry.names, labels, first.where)
    return list(together.values())
