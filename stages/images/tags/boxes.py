"""Tags from annotated boxes: COCO's JSON, VOC's XML, YOLO's text. The boxes themselves are not used."""

import logging
import re
from pathlib import Path, PurePosixPath

from stages.images.coco_json import CocoJson
from stages.images.files.folders import files_below
from stages.images.files.text import lines_of, read_text
from stages.images.files.xml import read_xml
from stages.images.tags.entries import Entry, Tags
from stages.images.tags.yolo_names import LISTS, class_names

log = logging.getLogger(__name__)
RESTORE = "restore it"
BOX = re.compile(r"\d+(\s+[-+.\deE]+){4,}")
LONGEST_LINE = 10_000  # characters
TRIED = 100  # text files of which one must have a box


def from_coco(path: Path) -> Tags:
    """Categories of the annotations of each image that a JSON in COCO's format lists, those of crowds too."""
    found = CocoJson(path)
    entries = [
        Entry(
            (entry["file_name"],),
            tuple(found.categories[category] for category in sorted(found.tags(number, crowds=True))),
            f"image {number}",
        )
        for number, entry in found.images.items()
    ]
    _report(path, "annotations", len(entries))
    return Tags(path, entries, strict=False, declared=tuple(found.categories.values()))


def from_voc(path: Path) -> Tags:
    """Names of the objects of each image that a folder has an XML file of, difficult ones too.

    An image is found by the name of the XML file, else by the `filename` in it. Raises ValueError naming a file that is
    no annotation.
    """
    files = _with_suffix(path, ".xml")
    entries = [_voc_entry(path, file) for file in files]
    _report(path, "objects", len(entries))
    return Tags(path, entries, strict=False)


def _voc_entry(folder: Path, file: str) -> Entry:
    root = read_xml(folder / file, RESTORE)
    if root.tag != "annotation":
        raise ValueError(f"{folder / file} holds <{root.tag}>, expected <annotation> with objects as VOC has them")
    labels = [(found.findtext("name") or "").strip() for found in root.findall("object")]
    if "" in labels:
        raise ValueError(f"{folder / file}: object {labels.index('') + 1} has no name; mend it")
    name = PurePosixPath(file).with_suffix("").as_posix()
    inside = (root.findtext("filename") or "").strip()
    return Entry((name, inside) if inside else (name,), tuple(dict.fromkeys(labels)), file)


def from_yolo(path: Path) -> Tags:
    """Names of the classes of the lines of each image that a folder has a text file of; an empty file has none.

    The names come from data.yaml, classes.txt or obj.names in the folder or one of the two above it. Raises ValueError
    naming file and line.
    """
    names = class_names(path)
    files = [file for file in _with_suffix(path, ".txt") if PurePosixPath(file).name not in LISTS]
    entries = [_yolo_entry(path, file, names) for file in files]
    _report(path, "boxes", len(entries))
    return Tags(path, entries, strict=False, declared=tuple(names.values()))


def is_yolo(folder: Path, files: list[str]) -> bool:
    """Whether one of the first text files of a folder has lines of a class and the numbers of a box."""
    texts = [file for file in files if file.lower().endswith(".txt") and PurePosixPath(file).name not in LISTS]
    lines = (read_text(folder / file, RESTORE)[:LONGEST_LINE].strip().split("\n")[0] for file in texts[:TRIED])
    return any(BOX.fullmatch(line.strip()) for line in lines)


def _yolo_entry(folder: Path, file: str, names: dict[int, str]) -> Entry:
    path = folder / file
    labels = []
    for number, line in enumerate(lines_of(read_text(path, RESTORE)), start=1):
        words = line.split()
        if words:
            labels.append(names[_yolo_class(words, names, f"{path} line {number}")])
    return Entry((PurePosixPath(file).with_suffix("").as_posix(),), tuple(dict.fromkeys(labels)), file)


def _yolo_class(words: list[str], names: dict[int, str], where: str) -> int:
    try:
        numbers = [float(word) for word in words]
        label = int(words[0])
    except ValueError as error:
        raise ValueError(
            f"{where} is {' '.join(words)[:80]!r}, expected a class and numbers as YOLO has them"
        ) from error
    if len(numbers) < 5:
        raise ValueError(f"{where} has {len(numbers)} numbers, expected a class and at least four of a box")
    if label not in names:
        raise ValueError(f"{where} has class {label}, which has no name; the names are {names}")
    return label


def _with_suffix(folder: Path, suffix: str) -> list[str]:
    return sorted(file for file in files_below(folder) if file.lower().endswith(suffix))


def _report(path: Path, what: str, count: int) -> None:
    log.info("%s: the %s of %d images are read as tags; where they lie is not used", path, what, count)
