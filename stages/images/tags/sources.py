"""Reads tags of any form, and tells the form from the content where the settings do not say it."""

from collections.abc import Callable
from pathlib import Path

from stages.images.files.folders import Found, files_below
from stages.images.files.tables import columns_of, read_table
from stages.images.files.text import read_text
from stages.images.files.xml import read_xml
from stages.images.settings import FolderSettings, TagsFormat
from stages.images.tags import boxes, class_folders, cvat, label_studio, tables
from stages.images.tags.entries import Tags, check_labels

MISSING = "set the file or folder of tags, or null for images without tags"
FOLDERS = ("class_folders", "voc", "yolo")


def read_tags(path: Path, root: Path, found: Found, classes: list[str], settings: FolderSettings) -> Tags:
    """What `path` says of the images below `root`, labels checked against the classes.

    Raises FileNotFoundError, or ValueError naming file and line or entry: another form, unknown tags, nothing in it.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; {MISSING}")
    form = settings.tags_format
    if form != "auto" and path.is_dir() != (form in FOLDERS):
        is_, wanted = ("a folder", "a file") if path.is_dir() else ("a file", "a folder")
        raise ValueError(f"{path} is {is_}, but images.folder.tags_format {form} is read from {wanted}; set the other")
    if path.is_dir():
        tags = _of_folder(path, root, found, classes, settings)
    elif path.suffix.lower() == ".xml" or form == "cvat":
        tags = _of_xml(path, form)
    else:
        tags = _of_text(path, form, classes)
    if not tags.entries:
        raise ValueError(f"{path} names no images; add them, or set tags to null for images without tags")
    check_labels(tags, classes)
    return tags


def _of_folder(path: Path, root: Path, found: Found, classes: list[str], settings: FolderSettings) -> Tags:
    def of_class_folders() -> Tags:
        return class_folders.from_class_folders(path, root, found.images, classes, settings.negative_folders)

    readers: dict[str, Callable[[], Tags]] = {
        "class_folders": of_class_folders,
        "voc": lambda: boxes.from_voc(path),
        "yolo": lambda: boxes.from_yolo(path),
    }
    form = settings.tags_format
    return readers[_form_of_folder(path, classes, settings) if form == "auto" else form]()


def _form_of_folder(path: Path, classes: list[str], settings: FolderSettings) -> str:
    """The only form that a folder can have. Raises ValueError where it can have several or none."""
    files = sorted(files_below(path))
    named = {*classes, *settings.negative_folders}
    forms = {
        "class_folders": any(folder.is_dir() and folder.name in named for folder in path.iterdir()),
        "voc": any(file.lower().endswith(".xml") for file in files),
        "yolo": boxes.is_yolo(path, files),
    }
    fitting = [form for form, fits in forms.items() if fits]
    if len(fitting) != 1:
        raise ValueError(
            f"{path} may be {' or '.join(fitting) or 'none'} of the folders of tags {', '.join(FOLDERS)} (a folder "
            "named as a class, .xml files, .txt files of numbers); set images.folder.tags_format, or the right folder"
        )
    return fitting[0]


def _of_xml(path: Path, form: TagsFormat) -> Tags:
    if form not in ("auto", "cvat"):
        raise ValueError(f"{path} is XML, but images.folder.tags_format is {form}; set auto or cvat")
    root = read_xml(path, MISSING)
    if root.tag == "annotation":
        raise ValueError(f"{path} is the annotation of one image; set tags to the folder that holds those of all")
    return cvat.from_cvat(path, root)


def _of_text(path: Path, form: TagsFormat, classes: list[str]) -> Tags:
    text = read_text(path, MISSING)
    if form == "json" or form == "coco" or (form != "list" and path.suffix.lower() == ".json"):
        return _of_json(path, text, form, classes)
    headers = columns_of(text)
    if form == "label_studio" or (form == "auto" and any(header >= label_studio.MARKS for header in headers)):
        wanted = tuple(sorted(label_studio.MARKS))
        return label_studio.from_label_studio_table(read_table(path, text, (wanted,), {}), classes)
    is_table = any(header & {"image", "picture"} and header & {"tags", "tag"} for header in headers)
    if form == "list" or (form == "auto" and path.suffix.lower() in (".txt", ".lst") and not is_table):
        return tables.from_list(path, text, classes)
    return tables.from_table(path, text)


def _of_json(path: Path, text: str, form: TagsFormat, classes: list[str]) -> Tags:
    data = tables.read_json(path, text)
    is_coco = isinstance(data, dict) and isinstance(data.get("images"), list) and "categories" in data
    if form == "coco" or (form == "auto" and is_coco):
        return boxes.from_coco(path)
    if form == "label_studio" or (form == "auto" and isinstance(data, list)):
        return label_studio.from_tasks(path, data, classes)
    if form not in ("auto", "json"):
        raise ValueError(
            f"{path} is JSON, but images.folder.tags_format is {form}; set auto, json, coco or label_studio"
        )
    return tables.from_json(path, data)
