"""The classes of a COCO data set, which are one list for all of its splits, whatever numbers their files give them."""

import logging
from pathlib import Path

from stages.images.coco_json import CocoJson
from stages.images.dataset import listed, selected_classes
from stages.images.settings import ChosenImages, CocoSettings

log = logging.getLogger(__name__)


def coco_classes(settings: ChosenImages, own: CocoJson) -> list[str]:
    """The classes of all splits: those of the settings, or else the categories of the training split's file.

    Files are matched by the names of their categories. Headings, which no annotation has and other categories name as
    what stands above them, are left out. What else differs is logged.

    Args:
        settings: of the data set.
        own: file of the split that is listed.

    Raises:
        ValueError: a class of the settings is unknown, or a split has none of the classes or spells one otherwise.
    """
    block = settings.block
    assert isinstance(block, CocoSettings)
    reference_path = own.path if settings.reference is None else Path(block.root) / settings.reference
    is_reference = reference_path == own.path
    if settings.classes is not None:
        classes, source = settings.classes, "images.classes"
        if is_reference:
            selected_classes(classes, list(own.categories.values()), str(own.path))
    else:
        reference = own if is_reference else _read_reference(reference_path)
        classes, source = _without_headings(reference), str(reference.path)
    if not is_reference:
        _compare(classes, source, own)
    return list(classes)


def official_ids(classes: list[str], own: CocoJson) -> list[int]:
    """The id of each class in a split's own file, for export; classes that the file lacks get the next free ids."""
    ids = {name: number for number, name in own.categories.items()}
    free = max([0, *own.categories]) + 1
    for name in classes:
        if name not in ids:
            ids[name] = free
            free += 1
    return [ids[name] for name in classes]


def _read_reference(path: Path) -> CocoJson:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; the categories of the training split are the classes of all: restore it, or list "
            "the classes in images.classes"
        )
    return CocoJson(path)


def _without_headings(reference: CocoJson) -> list[str]:
    if reference.headings:
        log.warning(
            "%s: the categories %s only stand above others and have no annotation; they are no classes",
            reference.path, listed(reference.headings),
        )  # fmt: skip
    return [name for name in reference.categories.values() if name not in reference.headings]


def _compare(classes: list[str], source: str, own: CocoJson) -> None:
    """Log what a file has beside the classes, and which of them it lacks."""
    names = list(own.categories.values())
    lacking = [name for name in classes if name not in names]
    others = [name for name in names if name not in classes and name in own.used]
    alike = {name.casefold(): name for name in lacking}
    for name in others:
        if name.casefold() in alike:
            raise ValueError(
                f"{own.path} has the category {name!r}, where {source} has {alike[name.casefold()]!r}; write both alike"
            )
    if len(lacking) == len(classes):
        raise ValueError(
            f"{own.path} has none of the classes of {source} ({listed(classes)}), but {listed(names)}; "
            "give files of one data set"
        )
    if lacking:
        log.warning("%s: no category is called %s; no image of this split can have it", own.path, listed(lacking))
    if others and source != "images.classes":
        log.warning(
            "%s: %s are not among the classes of the training split (%s) and are left out",
            own.path,
            listed(others),
            source,
        )
