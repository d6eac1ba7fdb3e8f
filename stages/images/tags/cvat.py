"""Tags from an export "CVAT for images 1.1".

Source: CVAT's manual, "XML annotation format", version 1.1.
"""

import logging
from pathlib import Path
from xml.etree import ElementTree

from stages.images.tags.entries import Entry, Tags

log = logging.getLogger(__name__)
ROOT = "annotations"
TAG = "tag"


def from_cvat(path: Path, root: ElementTree.Element) -> Tags:
    """Tags of images, and the labels of their shapes, which say as well what is in an image.

    Raises ValueError for another kind of XML, an export of a video, or an image without a name.
    """
    if root.tag != ROOT or root.find("track") is not None:
        found = "tracks of a video" if root.tag == ROOT else f"<{root.tag}>"
        raise ValueError(f"{path} holds {found}, expected <{ROOT}> with images; export as 'CVAT for images 1.1'")
    images = root.findall("image")
    entries = [_entry(path, number, image) for number, image in enumerate(images, start=1)]
    shapes = sum(child.tag != TAG and child.get("label") is not None for image in images for child in image)
    if shapes:
        log.info("%d shapes of %s are read as tags of their images; their outlines are not used", shapes, path)
    declared = tuple(name.strip() for name in _names_of_labels(root) if name)
    return Tags(path, entries, strict=False, declared=declared or None)


def _entry(path: Path, number: int, image: ElementTree.Element) -> Entry:
    where = f"image {image.get('id', number)}"
    name = image.get("name")
    if not name:
        raise ValueError(f"{path} {where} has no name; export once more")
    labels = [label for child in image if (label := child.get("label")) is not None]
    return Entry((name,), tuple(dict.fromkeys(labels)), where)


def _names_of_labels(root: ElementTree.Element) -> list[str | None]:
    return [label.findtext("name") for label in root.iterfind("meta//labels/label")]
