"""Copies of image files on a node's own disk, for trainings that read each image many times.

A copy is named after the content that was listed, and is looked at when it is read: a file that is cut off, damaged or
put there by somebody else is never taken for the image. So processes and trainings side by side share a folder.
"""

import contextlib
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

VARIABLE = "TAGMASK_SCRATCH"  # the setting `scratch`, with its own variables as they are written there
log = logging.getLogger(__name__)


class Scratch:
    """Copies in a folder, which are made as images are read for the first time."""

    def __init__(self, folder: Path) -> None:
        """Raises ValueError where the folder cannot be made."""
        self.folder, self._full = folder, False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"scratch is {folder}, which cannot be made ({error.strerror}); name a folder that jobs may write on"
                " every node, or set scratch: null"
            ) from error

    def read(self, digest: str, original: Callable[[], bytes]) -> bytes:
        """Content with this SHA-256 from its copy; where there is none, from `original`, of which a copy is then made.

        Content of another digest is given as it is, and not kept. A copy that cannot be written is done without: what
        follows is read from where it is, with one warning.
        """
        place = self.folder / digest[:2] / digest
        with contextlib.suppress(OSError):
            data = place.read_bytes()
            if hashlib.sha256(data).hexdigest() == digest:
                return data
        data = original()
        if not self._full and hashlib.sha256(data).hexdigest() == digest:
            self._write(place, data)
        return data

    def _write(self, place: Path, data: bytes) -> None:
        try:
            place.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
                unfinished = Path(file.name)
                try:
                    file.write(data)
                    file.close()
                    unfinished.replace(place)
                finally:
                    unfinished.unlink(missing_ok=True)
        except OSError as error:
            self._full = True
            log.warning(
                "scratch takes no more copies (%s: %s); all other images are read from where they are",
                self.folder, error.strerror,
            )  # fmt: skip


@contextlib.contextmanager
def scratch_in_use() -> Iterator[None]:
    """Within the block, `read_copied` keeps copies, where the environment of the job says where.

    Raises ValueError where that folder cannot be made, or names a variable that the job does not have.
    """
    global _current
    text = os.environ.get(VARIABLE)
    _current = None if text is None else Scratch(_expanded(text))
    if _current is not None:
        log.info("images are copied to %s, and read from there", _current.folder)
    try:
        yield
    finally:
        _current = None


def read_copied(digest: str, original: Callable[[], bytes]) -> bytes:
    """What `original` gives, or the copy of it; see `Scratch.read`. Outside `scratch_in_use`, always the first."""
    return original() if _current is None else _current.read(digest, original)


_current: Scratch | None = None


def _expanded(text: str) -> Path:
    path = os.path.expandvars(text)
    left = re.search(r"\$\{?(\w+)", path)
    if left:
        raise ValueError(
            f"scratch is {text}, but this job has no variable {left[1]}; name one that jobs have on your cluster, such"
            " as $TMPDIR, or a folder"
        )
    return Path(path)
