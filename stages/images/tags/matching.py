"""Finds the image files of the entries of tags."""

import itertools
import logging
import os
from functools import cached_property
from pathlib import Path, PurePosixPath

from stages.core.images.suffixes import suffixes
from stages.images.dataset import check_inside, listed
from stages.images.files.folders import Found, identity
from stages.images.files.names import Names
from stages.images.tags.entries import Entry, Tags

log = logging.getLogger(__name__)
HINTS = 3  # missing images for which a similar name is sought


def match(tags: Tags, root: Path, found: Found) -> list[str]:
    """The file of each entry, relative to `root`. Raises ValueError or FileNotFoundError for images without one."""
    names = Names(found.images)
    links = _Links(root, names)
    files: list[str] = []
    missing: list[Entry] = []
    places: dict[str, Entry] = {}
    for entry in tags.entries:
        name, candidates = _candidates(entry, names, links, anywhere=not tags.strict)
        if candidates and f"/{entry.names[0]}".endswith(f"/{name}"):
            places.setdefault(entry.names[0].removesuffix(name), entry)
        if len(candidates) > 1:
            raise ValueError(
                f"{tags.path} {entry.where} names {entry.names[-1]!r}, which may be {' or '.join(candidates[:3])}; "
                "write its folder and its suffix too"
            )
        files += candidates
        missing += [] if candidates else [entry]
    if missing:
        raise FileNotFoundError(_not_found(tags, missing, root, found, names))
    if len(places) > 1:
        named = [f"{place or 'no folder'} ({entry.where})" for place, entry in places.items()]
        raise ValueError(
            f"{tags.path} has images in several folders, {listed(named)}, of which {root} can be only one; set "
            "images to the folder that holds them all"
        )
    unnamed = len(found.images) - len(set(files))
    if unnamed:
        log.info("%d images in %s are not named in %s and are left out", unnamed, root, tags.path)
    return files


class _Links:
    """Finds files by names whose folder is a link to one that was searched by another name."""

    def __init__(self, root: Path, names: Names) -> None:
        self._root, self._names = root, names

    @cached_property
    def _folders(self) -> dict[tuple[int, int], str]:
        """Folder as it was searched, by its identity."""
        folders = {PurePosixPath(file).parent.as_posix() for file in self._names.files}
        return {identity(self._root / folder): folder for folder in sorted(folders, reverse=True)}

    def find(self, name: str) -> list[str]:
        path = PurePosixPath(name.replace("\\", "/"))
        folder = self._root / path.parent
        inside = not path.is_absolute() and ".." not in path.parts and path.parent != PurePosixPath()
        if not inside or not os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir fails for names that are too long)
            return []
        searched = self._folders.get(identity(folder))
        return [] if searched is None else self._names.find(f"{searched}/{path.name}")


def _candidates(entry: Entry, names: Names, links: _Links, *, anywhere: bool) -> tuple[str, list[str]]:
    """The first name that finds files, and those files; the first name and none where no name does.

    With `anywhere` the names may lack the first folders: tools do not always know where the images lie.
    """
    found = ((name, names.find(name) or links.find(name)) for name in entry.names)
    below = ((name, names.find_below(name)) for name in entry.names if anywhere)
    pairs = itertools.chain(found, below)
    return next(((name, files) for name, files in pairs if files), (entry.names[0], []))


def _not_found(tags: Tags, missing: list[Entry], root: Path, found: Found, names: Names) -> str:
    for entry in missing:
        if len(entry.names) == 1:
            check_inside(entry.names[0], f"{tags.path} {entry.where}")
    there = Names(found.others)
    unread = [entry for entry in missing if any(there.find(name) for name in entry.names)]
    if unread:
        return (
            f"{tags.path} names images that are in {root} but cannot be read: "
            f"{listed([_shown(entry) for entry in unread])}; save them as JPEG or PNG, or unlist them (read are "
            f"{' '.join(sorted(suffixes()))})"
        )
    return (
        f"{tags.path} names images that are not in {root}: {listed([_shown(entry) for entry in missing])}; restore or "
        f"unlist them{_hints(missing[:HINTS], names)}"
    )


def _hints(missing: list[Entry], names: Names) -> str:
    near = [(entry.names[0], names.near(entry.names[-1])) for entry in missing]
    found = [f"{file} for {name}" for name, file in near if file is not None]
    return f". Did you mean {', '.join(found)}?" if found else ""


def _shown(entry: Entry) -> str:
    return f"{entry.names[0]} ({entry.where})"
