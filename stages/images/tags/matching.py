"""Finds the image files of the entries of tags."""

import logging
from functools import cached_property
from pathlib import Path

from stages.images.dataset import check_inside, listed
from stages.images.files.folders import Found
from stages.images.files.names import Names, suffixes
from stages.images.tags.entries import Entry, Tags

log = logging.getLogger(__name__)
HINTS = 3  # missing images for which a similar name is sought


def match(tags: Tags, root: Path, found: Found) -> list[str]:
    """The file of each entry, relative to `root`. Raises ValueError or FileNotFoundError for images without one."""
    names, links = Names(found.images), _Links(root, found.images)
    files: list[str] = []
    missing: list[Entry] = []
    for entry in tags.entries:
        candidates = _candidates(entry, names, links)
        if len(candidates) > 1:
            raise ValueError(
                f"{tags.path} {entry.where} names {entry.names[-1]!r}, which may be {' or '.join(candidates[:3])}; "
                "write its folder and its suffix too"
            )
        files += candidates
        missing += [] if candidates else [entry]
    if missing:
        raise FileNotFoundError(_not_found(tags, missing, root, found, names))
    unnamed = len(found.images) - len(set(files))
    if unnamed:
        log.info("%d images in %s are not named in %s and are left out", unnamed, root, tags.path)
    return files


class _Links:
    """Finds files by names that lead to them over another link than the one by which they were found."""

    def __init__(self, root: Path, files: list[str]) -> None:
        self._root, self._files = root, files

    @cached_property
    def _of_inode(self) -> dict[tuple[int, int], list[str]]:
        found: dict[tuple[int, int], list[str]] = {}
        for file in self._files:
            found.setdefault(_inode(self._root / file), []).append(file)
        return found

    def find(self, name: str) -> list[str]:
        path = self._root / name.replace("\\", "/")
        parents = [parent for parent in path.parents if self._root in parent.parents]
        if ".." in path.parts or not any(parent.is_symlink() for parent in parents) or not path.is_file():
            return []
        return self._of_inode.get(_inode(path), [])


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _candidates(entry: Entry, names: Names, links: _Links) -> list[str]:
    return next((files for name in entry.names if (files := names.find(name) or links.find(name))), [])


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
    hints = "".join(names.near(entry.names[0]) for entry in missing[:HINTS])
    return (
        f"{tags.path} names images that are not in {root}: {listed([_shown(entry) for entry in missing])}{hints}; "
        "restore or unlist them"
    )


def _shown(entry: Entry) -> str:
    return f"{entry.names[0]} ({entry.where})"
