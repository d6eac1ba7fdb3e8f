"""PASCAL VOC (2007 to 2012): tags from the XML annotations, masks from SegmentationObject, or from SBD.

Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010. The list `train_aug` of 10,582 images is
VOC's train list plus SBD's train and val lists minus VOC's val list.
"""

from collections.abc import Collection
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from stages.images.dataset import (
    Annotations,
    PointFiles,
    check_inside,
    check_unique,
    make_annotations,
    selected_classes,
)
from stages.images.index_maps import read_index_map
from stages.images.sbd import Sbd
from stages.images.settings import ChosenImages, VocSettings

CLASSES = [
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
]  # fmt: skip
VOID = 255
TRAIN_AUG = "train_aug"


class Voc:
    """One split of VOC. Ids are the official names; category ids are 1 to 20."""

    def __init__(self, settings: ChosenImages, split: str) -> None:
        """Read the split's list. Raises FileNotFoundError or ValueError naming what is missing."""
        block = settings.block
        assert isinstance(block, VocSettings)
        self._folder = find_year(Path(block.root))
        self._block = block
        self._sbd = Sbd(Path(block.sbd)) if block.sbd is not None else None
        self.root = str(self._folder)
        self.classes = selected_classes(settings.classes, CLASSES, "VOC")
        self.category_ids = [CLASSES.index(name) + 1 for name in self.classes]
        self._index = {name: i for i, name in enumerate(self.classes)}
        self.images = self._list(settings.split(split))
        self.points = None
        if block.points is not None:
            self.points = PointFiles(block.points, {i: self._index.get(name) for i, name in enumerate(CLASSES)})

    def _list(self, name: str) -> list[str]:
        if name != TRAIN_AUG or self._sbd is None:
            return self._read_list(name)
        boundaries = set(self._sbd.images()) - set(self._read_list("val"))
        return sorted(set(self._read_list("train")) | boundaries)

    def _read_list(self, name: str) -> list[str]:
        path = self._folder / "ImageSets" / self._block.image_sets / f"{check_inside(name, 'images.voc.splits')}.txt"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt"))) or "none"
            hint = "; train_aug is made from SBD: set images.voc.sbd" if name == TRAIN_AUG else ""
            raise FileNotFoundError(f"{path} does not exist; lists in that folder: {known}{hint}")
        return read_list(path)

    def path(self, image: str) -> str:
        """File of an image relative to `root`."""
        return f"JPEGImages/{image}.jpg"

    def embedded(self, image: str) -> bytes:
        """Never called: the images are files."""
        raise ValueError(f"image {image!r} of VOC is a file")

    def tags(self, image: str) -> Collection[int] | None:
        """Classes of the image's annotated objects, difficult ones by `difficult_tags`.

        None where difficult objects, which are left out of the tags, are all that it has of the classes.
        """
        path = self._folder / "Annotations" / f"{image}.xml"
        if path.is_file():
            objects = named_objects(path)
            named = self._selected({name for name, _ in objects})
            tagged = (
                named
                if self._block.difficult_tags
                else self._selected({name for name, found in objects if not is_difficult(found)})
            )
            return None if named and not tagged else tagged
        if self._sbd is not None and self._sbd.has(image):
            return self._selected({CLASSES[category - 1] for category in self._sbd.categories(image)})
        raise FileNotFoundError(f"{path} does not exist; restore it, or take {image} off its list")

    def _selected(self, names: set[str]) -> set[int]:
        return {self._index[name] for name in names if name in self._index}

    def ground_truth(self, image: str, height: int, width: int) -> Annotations | None:
        """Instances of SegmentationObject; else of SBD, where it is given; else None."""
        objects = self._folder / "SegmentationObject" / f"{image}.png"
        if objects.is_file():
            ids = read_index_map(objects, height, width)
            categories = read_index_map(self._folder / "SegmentationClass" / f"{image}.png", height, width)
            return self._from_maps(ids, categories, str(objects))
        if self._sbd is not None and self._sbd.has(image):
            ids, of_instance = self._sbd.instances(image, height, width)
            return self._select(ids, of_instance, None)
        return None

    def _from_maps(self, ids: np.ndarray, categories: np.ndarray, name: str) -> Annotations:
        """Instances as chainercv reads them: ids without 0 and 255, class = first of unique(category of its pixels)."""
        of_instance = {}
        for i in np.unique(ids):
            if i in (0, VOID):
                continue
            category = int(np.unique(categories[ids == i])[0])
            if not 1 <= category <= len(CLASSES):
                raise ValueError(
                    f"{name}: instance {i} has category {category} in SegmentationClass, expected 1 to {len(CLASSES)}; "
                    "restore both maps from the same version of VOC"
                )
            of_instance[int(i)] = category
        return self._select(ids, of_instance, ids == VOID)

    def _select(self, ids: np.ndarray, of_instance: dict[int, int], void: np.ndarray | None) -> Annotations:
        """Instances of the selected classes. VOC marks no mask as difficult: each instance counts."""
        kept = {i: CLASSES[category - 1] for i, category in of_instance.items() if CLASSES[category - 1] in self._index}
        masks = [ids == i for i in kept]
        return make_annotations(
            masks, [self._index[name] for name in kept.values()], list(kept), shape=ids.shape, void=void
        )


def find_year(root: Path) -> Path:
    """The year's folder (with JPEGImages): `root` itself, or the only VOC* folder in it."""
    if (root / "JPEGImages").is_dir():
        return root
    years = sorted(path for path in root.glob("VOC*") if (path / "JPEGImages").is_dir())
    if len(years) > 1:
        raise ValueError(f"{root} holds {', '.join(path.name for path in years)}; set images.voc.root to one of them")
    if not years:
        raise FileNotFoundError(
            f"{root} is not VOC: neither it nor a folder VOC* in it holds JPEGImages; set images.voc.root to the "
            "unpacked VOCdevkit or VOC2012 folder"
        )
    return years[0]


def read_list(path: Path) -> list[str]:
    """Names of images, one per line. Raises ValueError for an empty list, other columns, or a name given twice."""
    names = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if len(words) > 1:
            raise ValueError(f"{path} line {number} is {line!r}, expected one name per line, as in train.txt")
        names += [check_inside(word, str(path)) for word in words]
    if not names:
        raise ValueError(f"{path} is empty; restore the list of images")
    check_unique(names, str(path))
    return names


def named_objects(path: Path) -> list[tuple[str, ElementTree.Element]]:
    """Class and element of each object in an annotation. Raises ValueError for broken XML or a name not of VOC's."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{path} is not XML ({error}); restore it") from error
    objects = []
    for found in root.findall("object"):
        name = (found.findtext("name") or "").strip()
        if name not in CLASSES:
            raise ValueError(
                f"{path} tags {name!r}, not among the classes of VOC ({', '.join(CLASSES)}); mend the file"
            )
        objects.append((name, found))
    return objects


def is_difficult(found: ElementTree.Element) -> bool:
    """Whether an object is marked difficult."""
    return (found.findtext("difficult") or "0").strip() == "1"
