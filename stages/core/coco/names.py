"""Which image a name in a file means: an image is its path."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping

from stages.core.images.suffixes import suffixes

Parts = tuple[str, ...]


def match_names(images: Mapping[str, str], names: Mapping[str, str], source: str) -> dict[str, str]:
    """Which entry each image is.

    Names are compared by their whole path, then without the suffix of an image. Where that finds no image at all, the
    folders are written from another root: then one path must be the end of the other. Backslashes are slashes.

    Args:
        images: path of each image, by its id.
        names: file name of each entry, by its key.
        source: of the names, for messages.

    Returns:
        Id of an image -> key of its entry. Images without an entry, and entries without an image, are left out.

    Raises:
        ValueError: an image may be two entries, or an entry two images.
    """
    found: dict[str, str] = {}
    for spelling in (parts, stem):
        found |= _match(images, names, spelling, found, source)
    return found or _match_ends(images, names, source)


def parts(name: str) -> Parts:
    """The folders and the file of a path, in one normal form of Unicode."""
    path = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    return tuple(part for part in path.split("/") if part not in ("", "."))


def stem(name: str) -> Parts:
    """The parts of a path, the last without the suffix of an image; other suffixes are part of the name."""
    *folders, last = parts(name) or ("",)
    head, dot, suffix = last.rpartition(".")
    return (*folders, head) if head and dot + suffix.lower() in suffixes() else (*folders, last)


def _match(
    images: Mapping[str, str], names: Mapping[str, str], spelling: Callable[[str], Parts], found: Mapping[str, str],
    source: str,
) -> dict[str, str]:  # fmt: skip
    """Pairs of images and entries that have the same spelling, beside those that were found before."""
    taken = set(found.values())
    entries: dict[Parts, list[str]] = defaultdict(list)
    for key, name in names.items():
        if key not in taken:
            entries[spelling(name)].append(key)
    candidates = {image: entries.get(spelling(path), []) for image, path in images.items() if image not in found}
    return _one_to_one(candidates, images, names, source)


def _match_ends(images: Mapping[str, str], names: Mapping[str, str], source: str) -> dict[str, str]:
    """Pairs of which one path is the end of the other, without suffixes."""
    entries: dict[str, list[tuple[str, Parts]]] = defaultdict(list)
    for key, name in names.items():
        whole = stem(name)
        entries[whole[-1]].append((key, whole))
    candidates = {}
    for image, path in images.items():
        whole = stem(path)
        candidates[image] = [key for key, other in entries.get(whole[-1], []) if _ends_alike(whole, other)]
    return _one_to_one(candidates, images, names, source)


def _ends_alike(first: Parts, second: Parts) -> bool:
    length = min(len(first), len(second))
    return first[-length:] == second[-length:]


def _one_to_one(
    candidates: Mapping[str, list[str]], images: Mapping[str, str], names: Mapping[str, str], source: str
) -> dict[str, str]:
    of_entry: dict[str, str] = {}
    for image, keys in candidates.items():
        if len(keys) > 1:
            raise ValueError(
                f"{source}: the image {images[image]} may be {names[keys[0]]!r} (id {keys[0]}) or {names[keys[1]]!r} "
                f"(id {keys[1]}); write file_name as the path in the folder of the images, each once"
            )
        if keys and keys[0] in of_entry:
            raise ValueError(
                f"{source}: {names[keys[0]]!r} may be the image {images[of_entry[keys[0]]]} or {images[image]}; write "
                "file_name as the path in the folder of the images"
            )
        of_entry |= {key: image for key in keys}
    return {image: key for key, image in of_entry.items()}
