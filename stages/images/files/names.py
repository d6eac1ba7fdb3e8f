"""The one rule by which names that people write are matched with files of a folder."""

import difflib
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path, PurePosixPath

from PIL import Image, ImageFile

# Suffixes that point clouds and circuit boards have today, and no images.
OTHER_USES = {"GBR", "PCD"}
MOST_COMPARED = 2000  # names that a misspelt one is compared with


@cache
def suffixes() -> frozenset[str]:
    """Suffixes of the images that Pillow decodes by itself, in lower case, such as ".jpg".

    Left out: formats that Pillow only names or hands to another program, and those whose suffixes mean something else.
    """
    Image.init()
    readable = {
        name
        for name, (factory, _) in Image.OPEN.items()
        if not (isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile))
        and Image.MIME.get(name, "image/").startswith("image/")
    }
    return frozenset(s for s, name in Image.registered_extensions().items() if name in readable - OTHER_USES)


def without_suffix(name: str) -> str:
    """The id of an image from its file: '/' between folders, composed letters (NFC), no suffix of an image."""
    path = PurePosixPath(spelling(name))
    return path.with_suffix("").as_posix() if path.suffix.lower() in suffixes() else path.as_posix()


def spelling(name: str) -> str:
    """A name as it is compared: '/' between folders, no './' in front, letters composed (Unicode's NFC)."""
    return PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/"))).as_posix()


class Names:
    """Files of a folder by the names that people write for them.

    A name finds the file of that very name; else those of the same spelling (`spelling`), else those whose name without
    suffix it is. Letter case counts.
    """

    def __init__(self, files: Iterable[str]) -> None:
        """Index file names relative to their folder."""
        self.files = list(files)
        self._exact = set(self.files)
        self._spelt: dict[str, list[str]] = {}
        self._ids: dict[str, list[str]] = {}
        for file in self.files:
            self._spelt.setdefault(spelling(file), []).append(file)
            self._ids.setdefault(without_suffix(file), []).append(file)

    def find(self, name: str) -> list[str]:
        """The files that a name may mean: none, one, or several that it does not tell apart."""
        if name in self._exact:
            return [name]
        wanted = spelling(name)
        return self._spelt.get(wanted) or self._ids.get(wanted) or []

    def near(self, name: str) -> str | None:
        """The file whose name is most like one that finds nothing, None where none is like it."""
        wanted = spelling(name)
        folder, stem = PurePosixPath(wanted).parent, without_suffix(wanted).casefold()
        same = [file for file in self.files if without_suffix(file).casefold() == stem]
        base = PurePosixPath(stem).name
        elsewhere = [file for file in self.files if PurePosixPath(without_suffix(file)).name.casefold() == base]
        beside = [file for file in self.files if PurePosixPath(spelling(file)).parent == folder][:MOST_COMPARED]
        found = same or elsewhere or difflib.get_close_matches(wanted, beside, n=1, cutoff=0.8)
        return found[0] if found else None


def readable_name(path: Path | str) -> str:
    """A file's name for messages, with bytes that are not UTF-8 escaped."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_utf8(name: str) -> bool:
    """Whether a file's name is text: names in other encodings hold surrogates in place of their bytes."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
