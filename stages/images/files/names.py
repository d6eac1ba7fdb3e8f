"""The one rule by which names that people write are matched with files of a folder."""

import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from stages.core.images.suffixes import suffixes

MOST_COMPARED = 2000  # names that a misspelt one is compared with


def without_suffix(name: str) -> str:
    """The id of an image from its file: '/' between folders, composed letters (NFC), no suffix of an image."""
    path = PurePosixPath(spelling(name))
    return path.with_suffix("").as_posix() if path.suffix.lower() in suffixes() else path.as_posix()


def spelling(name: str) -> str:
    """A name as it is compared: '/' between folders, no './' in front, letters composed (Unicode's NFC)."""
    return PurePosixPath(composed(name.replace("\\", "/"))).as_posix()


def composed(name: str) -> str:
    """A name with its letters composed (Unicode's NFC), as names of classes are compared."""
    return unicodedata.normalize("NFC", name)


def path_ends(name: str) -> tuple[str, ...]:
    """The path and its ends without the first folders, longest first: a/b.jpg, b.jpg."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return tuple("/".join(parts[i:]) for i in range(len(parts)))


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
        self._last: dict[str, list[str]] = {}
        for file in self.files:
            self._spelt.setdefault(spelling(file), []).append(file)
            self._ids.setdefault(without_suffix(file), []).append(file)
            self._last.setdefault(PurePosixPath(without_suffix(file)).name, []).append(file)

    def find(self, name: str) -> list[str]:
        """The files that a name may mean: none, one, or several that it does not tell apart."""
        if name in self._exact:
            return [name]
        wanted = spelling(name)
        return self._spelt.get(wanted) or self._ids.get(wanted) or []

    def find_below(self, name: str) -> list[str]:
        """The files in any folder whose path ends with a name."""
        wanted = spelling(name)
        last = self._last.get(PurePosixPath(without_suffix(wanted)).name, [])
        return [file for file in last if f"/{spelling(file)}".endswith(f"/{wanted}")] or [
            file for file in last if f"/{without_suffix(file)}".endswith(f"/{wanted}")
        ]

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
