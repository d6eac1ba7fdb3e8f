"""The user's own images: a folder, tags from where they are kept, and masks where there are any."""

import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np

from stages.core.coco.names import match_names
from stages.images.coco_json import CocoJson
from stages.images.dataset import Annotations, PointFiles, check_unique, listed, make_annotations
from stages.images.files.folders import check_all_named, files_below, find_images
from stages.images.files.names import composed, without_suffix
from stages.images.files.tables import check_filled, read_table
from stages.images.files.text import read_text
from stages.images.index_maps import read_index_map
from stages.images.settings import ChosenImages, FolderSettings, FolderSplit
from stages.images.tags.matching import match
from stages.images.tags.sources import read_tags
from stages.images.tags.tables import FORMER

log = logging.getLogger(__name__)
INSTANCES = "instances.csv"
COLUMNS = ("image", "instance", "class")
MISSING = "it has the columns image, instance, class"


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
        root = Path(self.root)
        found = find_images(root, masks)
        self._tags: dict[str, set[int]] = {}
        if files.tags is None:
            check_all_named(self.root, found)
            self._files = by_id(found.images, self.root)
        else:
            tags = read_tags(Path(files.tags), root, found, self.classes, block)
            self._files = by_id(match(tags, root, found), files.tags)
            labels = [{index[label] for label in entry.labels if label in index} for entry in tags.entries]
            self._tags = dict(zip(self._files, labels, strict=True))
        self.images = list(self._files)
        self._masks = _open_masks(masks, self._files, index, block.void_id)
        self._shows_none = settings.untagged == "negative"

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
        """Instances of the image where the masks have it, else None.

        Where the split has masks, an image that shows none of the classes needs none: it has no instance.
        """
        found = None if self._masks is None else self._masks.ground_truth(image, height, width)
        if found is None and self._masks is not None and self._shows_none and self._tags.get(image) == set():
            return make_annotations([], [], [], shape=(height, width))
        return found

    def conclude(self) -> None:
        """Say whether the masks are what their file says of them. Raises ValueError where most are not."""
        if isinstance(self._masks, JsonMasks):
            self._masks.conclude()


class PngMasks:
    """Masks as PNG maps `<folder>/<image>.png` of instance ids, and their classes in `<folder>/instances.csv`."""

    def __init__(self, folder: Path, files: dict[str, str], index: dict[str, int], void_id: int | None) -> None:
        """Read the classes. Raises FileNotFoundError or ValueError naming the file and what is wrong."""
        self._folder, self._void_id = folder, void_id
        self._list = folder / INSTANCES
        self._classes: dict[str, dict[int, int]] = {}
        table = read_table(self._list, read_text(self._list, MISSING), (COLUMNS,), FORMER)
        check_filled(table, "image")
        classes = {composed(name): number for name, number in index.items()}
        for row in table.rows:
            where = f"{self._list} line {row.line}: instance {row['instance']} of {row['image']}"
            label = classes.get(composed(row["class"]))
            if label is None:
                raise ValueError(f"{where} has class {row['class']!r}, not among images.classes {', '.join(index)}")
            if not row["instance"].isdecimal() or int(row["instance"]) in (0, void_id):
                raise ValueError(
                    f"{where}: an instance is its value in the map, not 0 (background) or {void_id} (void)"
                )
            of_image = self._classes.setdefault(without_suffix(row["image"]), {})
            if int(row["instance"]) in of_image:
                raise ValueError(f"{where} is given twice; give each instance one row")
            of_image[int(row["instance"])] = label
        self._maps = {
            without_suffix(name): folder / name for name in files_below(folder) if name.lower().endswith(".png")
        }
        if not any(image in self._maps for image in files):
            raise FileNotFoundError(f"{folder} has no map <image>.png of any image; set the folder of maps")

    def ground_truth(self, image: str, height: int, width: int) -> Annotations | None:
        """Instances by ascending id; None where there is no map."""
        path = self._maps.get(image, self._folder / f"{image}.png")
        if image not in self._maps and image not in self._classes:
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
        """Read the JSON. Raises ValueError where annotations have categories that are not among the classes."""
        self._json = CocoJson(path)
        unknown = [name for name in self._json.categories.values() if name not in index]
        used = [name for name in unknown if name in self._json.used]
        if used:
            raise ValueError(
                f"{path} has annotations of categories that are not among images.classes: {listed(used)}; add them"
            )
        if unknown:
            log.info("%s: no annotation is of the categories %s, which are left out", path, listed(unknown))
        self._class_of = {number: index.get(name) for number, name in self._json.categories.items()}
        names = self._json.file_names
        self._images = match_names(files, names, str(path))
        if not self._images:
            raise ValueError(
                f"{path} has none of the images; its file_name, such as {next(iter(names.values()))}, must be their "
                f"paths in the folder, such as {next(iter(files.values()))}"
            )
        log.info("%s: %d of %d images are in it", path, len(self._images), len(files))

    def ground_truth(self, image: str, height: int, width: int) -> Annotations | None:
        """The image's annotations; None where the JSON does not list it."""
        if image not in self._images:
            return None
        return self._json.ground_truth(self._images[image], height, width, self._class_of.get)

    def conclude(self) -> None:
        """Say whether the masks are what their entries say. Raises ValueError where most are not."""
        self._json.agreement.conclude()


def by_id(files: list[str], source: str) -> dict[str, str]:
    """Id -> file. Raises ValueError where two files have one id, as they differ in their suffix alone."""
    check_unique((without_suffix(file) for file in files), f"{source} (without suffixes)")
    return {without_suffix(file): file for file in files}


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
