"""Finds the images below a folder, links followed, and says what else is there."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stages.core.images.suffixes import suffixes
from stages.images.dataset import listed
from stages.images.files.names import is_utf8, readable_name

log = logging.getLogger(__name__)
# Images that Pillow does not read. Only the message depends on this list: such files are warned of.
UNREADABLE = {
    ".heic", ".heif", ".hif", ".jxl", ".jxr", ".svg", ".pdf", ".eps", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".arw",
    ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw", ".dcm", ".czi", ".nd2", ".lif", ".svs", ".ndpi", ".exr", ".hdr",
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """Files below a folder, relative to it with '/', in the order of their names.

    Attributes:
        images: those with a suffix that Pillow reads.
        misnamed: those whose name is not UTF-8, whatever they are; their odd bytes are surrogates.
        others: all other files, links to nowhere among them.
    """

    images: list[str]
    misnamed: list[str]
    others: list[str]


def find_images(root: Path, masks: Path | None) -> Found:
    """The files below `root`; hidden ones and the folder of masks are left out. The log names what is no image.

    A folder that is a link is searched like others, but no folder twice, so that circles end. Raises FileNotFoundError
    where `root` is no folder or holds no images.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder; set images.folder.splits to the folder of your images")
    found = Found([], [], [])
    for name in sorted(files_below(root, without=masks), key=lambda name: PurePosixPath(name).parts):
        _list_of(found, root, name).append(name)
    if not found.images and not found.misnamed:
        raise FileNotFoundError(
            f"{root} holds no images that can be read{_sorts(found.others)}; set the folder that has them "
            "(JPEG, PNG, TIFF, WebP and others that Pillow reads)"
        )
    _report(root, found)
    return found


def check_all_named(root: str, found: Found) -> None:
    """Raise ValueError where a file's name is not UTF-8: all images of the folder are wanted, and it may be one."""
    if found.misnamed:
        raise ValueError(
            f"{root} holds {len(found.misnamed)} files whose names are not UTF-8: "
            f"{listed([readable_name(name) for name in found.misnamed])}; rename them, or take them out of the folder"
        )


def files_below(root: Path, *, without: Path | None = None) -> Iterator[str]:
    """Files in the tree of `root`, then those behind links to folders that are not in it; not those of `without`."""
    seen = {identity(without)} if without is not None and without.is_dir() and not without.samefile(root) else set()
    waiting = [root]
    links: list[Path] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        if identity(folder) in seen:
            continue
        seen.add(identity(folder))
        for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
            if not path.is_dir():
                yield path.relative_to(root).as_posix()
            elif path.is_symlink():
                links.append(path)
            else:
                waiting.append(path)


def _list_of(found: Found, root: Path, name: str) -> list[str]:
    if not is_utf8(name):
        return found.misnamed
    return (
        found.images if PurePosixPath(name).suffix.lower() in suffixes() and (root / name).is_file() else found.others
    )


def identity(folder: Path) -> tuple[int, int]:
    """What tells a folder from others, by whatever path it is reached."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _report(root: Path, found: Found) -> None:
    if found.misnamed:
        log.warning(
            "%s holds %d files whose names are not UTF-8, which nothing can name; rename them to use them: %s",
            root, len(found.misnamed), listed([readable_name(name) for name in found.misnamed]),
        )  # fmt: skip
    unread = [name for name in found.others if PurePosixPath(name).suffix.lower() in UNREADABLE]
    if unread:
        log.warning(
            "%s holds %d images of kinds that cannot be read; they are left out, save them as JPEG or PNG: %s",
            root, len(unread), listed(unread),
        )  # fmt: skip
    broken = [name for name in found.others if not (root / name).exists()]
    if broken:
        log.warning("%s holds %d links to files that are not there: %s", root, len(broken), listed(broken))
    known = {*unread, *broken}
    rest = [name for name in found.others if name not in known]
    if rest:
        sorts = _sorts(rest)
        log.info("%d files in %s are no images and are left out%s: %s", len(rest), root, sorts, listed(rest))


def _sorts(names: list[str]) -> str:
    counts = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names)
    return f" ({listed([f'{count} {suffix}' for suffix, count in counts.most_common()])})" if counts else ""
