"""The user's own images: a folder, tags in a CSV or JSON, and masks where there are any."""

import logging
from collections.abc import Collection
from pathlib import Path, PurePosixPath

import numpy as np

from stages.images.coco_json import CocoJson
from stages.images.dataset import Annotations, PointFiles, check_unique, listed, make_annotations
from stages.images.index_maps import read_index_map
from stages.images.settings import ChosenImages, FolderSettings, FolderSplit
from stages.images.tag_files import read_rows, read_tags

log = logging.getLogger(__name__)
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
INSTANCES = "instances.csv"


class Folder:
    """One split of the user's images. Ids are paths in the folder without suffix; category ids are 1 to classes."""

    def __init__(self, settings: ChosenImages, split: str) -> None:
        """Match tags and files. Raises FileNotFoundError or ValueError naming what does not match."""
        block, files = settings.block, settings.split(split)
        assert isinstance(block, FolderSettings)
        assert isinstance(files, FolderSplit)
        self.root = files.images
        self.classes = list(settings.classes)
        self.category_ids = list(range(1, len(self.classes) + 1))
        index = {name: i for i, name in enumerate(self.classes)}
        self.points = PointFiles(files.points, dict(enumerate(index.values()))) if files.points is not None else None
        masks = Path(files.masks) if files.masks is not None else None
        found = find_images(Path(self.root), masks)
        if files.tags is None:
            self._files = by_id(found, self.root)
            self._tags: dict[str, set[int]] = {}
        else:
            self._files, self._tags = _match(Path(files.tags), found, self.root, index)
        self.images = list(self._files)
        self._masks = _open_masks(masks, self._files, index, block.void_id)

    def path(self, image: str) -> str:
        """File of an image relative to `root`."""
        return self._files[image]

    def embedded(self, image: str) -> bytes:
        """Never called: the images are files."""
        raise ValueError(f"image {image!r} of {self.root} is a file")

    def tags(self, image: str) -> Collection[int] | None:
        """Classes that the file of tags gives the image; None without such a file."""
        return self._tags.get(image)

    def ground_truth(self, image: str, height: int, width: int) -> Annotations | None:
        """Instances of the image where the masks have it, else None."""
        return self._masks.ground_truth(image, height, width) if self._masks is not None else None


class PngMasks:
    """Masks as PNG maps `<folder>/<image>.png` of instance ids, and their classes in `<folder>/instances.csv`."""

    def __init__(self, folder: Path, files: dict[str, str], index: dict[str, int], void_id: int | None) -> None:
        """Read the classes. Raises FileNotFoundError or ValueError naming the file and what is wrong."""
        self._folder, self._void_id = folder, void_id
        self._list = folder / INSTANCES
        if not self._list.is_file():
            raise FileNotFoundError(f"{self._list} does not exist; it has the columns image, instance, class")
        self._classes: dict[str, dict[int, int]] = {}
        for row in read_rows(self._list, self._list.read_text("utf-8-sig"), ("image", "instance", "class")):
            where = f"{self._list}: instance {row['instance']} of {row['image']}"
            if row["class"] not in index:
                raise ValueError(f"{where} has class {row['class']!r}, not among images.classes {', '.join(index)}")
            if not row["instance"].isdecimal() or int(row["instance"]) in (0, void_id):
                raise ValueError(
                    f"{where}: an instance is its value in the map, not 0 (background) or {void_id} (void)"
                )
            of_image = self._classes.setdefault(without_suffix(row["image"]), {})
            if int(row["instance"]) in of_image:
                raise ValueError(f"{where} is given twice; give each instance one row")
            of_image[int(row["instance"])] = index[row["class"]]
        if not any((folder / f"{image}.png").is_file() for image in files):
            raise FileNotFoundError(f"{folder} has no map <image>.png of any image; set the folder of maps")

    def ground_truth(self, image: str, height: int, width: int) -> Annotations | None:
        """Instances by ascending id; None where there is no map."""
        path = self._folder / f"{image}.png"
        if not path.is_file() and image not in self._classes:
            return None
        ids, classes = read_index_map(path, height, width), self._classes.get(image, {})
        present = {int(i) for i in np.unique(ids)} - {0, self._void_id}
        if present != set(classes):
            raise ValueError(
                f"{path} holds the instances {sorted(present)}, but {self._list.name} gives classes to "
                f"{sorted(classes)}; make them agree"
            )
        void = None if self._void_id is None else ids == self._void_id
        order = sorted(present)
        return make_annotations(
            (ids == i for i in order), [classes[i] for i in order], order, shape=ids.shape, void=void
        )


class JsonMasks:
    """Masks in a COCO JSON, whose file names are those of the images."""

    def __init__(self, path: Path, files: dict[str, str], index: dict[str, int]) -> None:
        """Read the JSON. Raises ValueError where it has categories that are not among the classes."""
        self._json = CocoJson(path)
        unknown = [name for name in self._json.categories.values() if name not in index]
        if unknown:
            raise ValueError(f"{path} has categories that are not among images.classes: {listed(unknown)}; add them")
        self._class_of = {number: index[name] for number, name in self._json.categories.items()}
        names = {entry["file_name"]: number for number, entry in self._json.images.items()}
        self._images = {image: names[file] for image, file in files.items() if file in names}
        if not self._images:
            raise ValueError(f"{path} has none of the images; its file_name must be their paths in the folder")

    def ground_truth(self, image: str, height: int, width: int) -> Annotations | None:
        """The image's annotations; None where the JSON does not list it."""
        if image not in self._images:
            return None
        return self._json.ground_truth(self._images[image], height, width, self._class_of.get)


def find_images(root: Path, masks: Path | None) -> list[str]:
    """Image files below `root`, sorted, relative to it; hidden files and the folder of masks are left out."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder; set images.folder.splits to the folder of your images")
    maps = masks if masks != root else None
    found = [
        path.relative_to(root)
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and maps not in path.parents
    ]
    names = [path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)]
    if not names:
        raise FileNotFoundError(f"{root} holds no images ({', '.join(SUFFIXES)}); set the folder that has them")
    return names


def without_suffix(name: str) -> str:
    """The id of an image from its file, with or without a suffix of an image."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in SUFFIXES else path.as_posix()


def by_id(names: list[str], root: str) -> dict[str, str]:
    """Id -> file. Raises ValueError where two files differ in their suffix alone."""
    check_unique((without_suffix(name) for name in names), f"{root} (without suffixes)")
    return {without_suffix(name): name for name in names}


def _match(
    path: Path, found: list[str], root: str, index: dict[str, int]
) -> tuple[dict[str, str], dict[str, set[int]]]:
    """Files and tags of the images that the file of tags names, in its order."""
    of_id: dict[str, list[str]] = {}
    for file in found:
        of_id.setdefault(without_suffix(file), []).append(file)
    on_disk, tags = set(found), read_tags(path, list(index))
    files: list[str] = []
    missing: list[str] = []
    for name in tags:
        candidates = [name] if name in on_disk else of_id.get(name, [])
        if len(candidates) > 1:
            raise ValueError(f"{path} names {name!r}, which may be {' or '.join(candidates)}; write the suffix too")
        files += candidates
        missing += [] if candidates else [name]
    if missing:
        raise FileNotFoundError(
            f"{path} names images that are not in {root}: {listed(missing)}; restore or unlist them"
        )
    unnamed = len(on_disk - set(files))
    if unnamed:
        log.info("%d images in %s are not named in %s and are left out", unnamed, root, path)
    chosen = by_id(files, str(path))
    return chosen, {image: {index[tag] for tag in names} for image, names in zip(chosen, tags.values(), strict=True)}


def _open_masks(
    masks: Path | None, files: dict[str, str], index: dict[str, int], void_id: int | None
) -> PngMasks | JsonMasks | None:
    if masks is None:
        return None
    if masks.is_dir():
        return PngMasks(masks, files, index, void_id)
    if not masks.is_file():
        raise FileNotFoundError(f"{masks} does not exist; set masks to a folder of PNG maps, a COCO JSON, or null")
    return JsonMasks(masks, files, index)
