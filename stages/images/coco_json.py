"""Instance annotations of a data set in COCO's JSON format."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.coco.agreement import Agreement
from stages.core.coco.entries import (
    Annotation,
    Category,
    CocoImage,
    check_once,
    has_parts,
    image_keys,
    read_annotations,
    read_categories,
    read_images,
)
from stages.core.coco.json_files import load_json
from stages.core.coco.masks import decode
from stages.core.coco.shares import find_shares
from stages.images.dataset import Annotations, make_annotations
from stages.images.index_maps import check_size

log = logging.getLogger(__name__)


class CocoJson:
    """The images, categories and annotations of one JSON file.

    Attributes:
        path: of the file.
        images: entries of the images, by id as text, in file order.
        file_names: of the images, by id, as the file has them.
        categories: name of each category by its official id, in order of the ids.
        headings: names of unused categories that only stand above others.
        used: names of the categories that have annotations.
        annotated: whether the file has annotations; image_info files of COCO's test sets have none.
        agreement: whether masks are what their entries say.
    """

    def __init__(self, path: Path) -> None:
        """Read the file. Raises FileNotFoundError or ValueError naming the entry that does not agree."""
        self.path = path
        data = _sections(load_json(path), path)
        entries = read_images(data["images"], path)
        keys, self._as_written = image_keys(entries, path)
        self.images = dict(zip(keys, entries, strict=True))
        self.file_names = {key: _name(entry, path) for key, entry in self.images.items()}
        categories = _numbered(read_categories(data["categories"], path), path)
        self.categories = {number: category.name for number, category in sorted(categories.items())}
        self.annotated = "annotations" in data
        given = read_annotations(data.get("annotations", []), path, ("image_id", "category_id"))
        of_category = {category.id: number for number, category in categories.items()}
        self._of_image = self._group(with_ids(given, path), of_category)
        used = {number for group in self._of_image.values() for _, number in group}
        self.used = {self.categories[number] for number in used}
        above = {category.above for category in categories.values() if category.above != category.name}
        self.headings = [name for name in self.categories.values() if name in above and name not in self.used]
        self._has_masks = any(has_parts(a.segmentation) for a in given)
        self._shares = find_shares(given)
        if any(self._shares):
            log.warning(
                "%s: the %s of all %d annotations lie within 0 to 1, and are read as shares of the image's sides",
                path, self._shares, len(given),
            )  # fmt: skip
        self.agreement = Agreement(str(path))

    def _group(
        self, annotations: list[Annotation], of_category: dict[int | str, int]
    ) -> dict[str, list[tuple[Annotation, int]]]:
        """Annotations and their categories' ids, by image."""
        groups: dict[str, list[tuple[Annotation, int]]] = defaultdict(list)
        for a in annotations:
            image = a.given_image if self._as_written else a.image
            if image not in self.images:
                raise ValueError(f"{self.path}: {a.label} is of image {image}, which the file does not list; mend it")
            if a.category not in of_category:
                raise ValueError(
                    f"{self.path}: {a.label} tags category {a.category}, which is not among the categories; mend it"
                )
            groups[image].append((a, of_category[a.category]))
        return dict(groups)

    def annotations(self, image: str) -> list[tuple[Annotation, int]] | None:
        """Entries of an image, each with its category's id, in file order; None where the file has no annotations."""
        return self._of_image.get(image, []) if self.annotated else None

    def tags(self, image: str, *, crowds: bool) -> set[int]:
        """Category ids of an image's annotations; those of crowds only where `crowds`."""
        return {number for a, number in self._of_image.get(image, []) if crowds or not a.crowd}

    def box(self, annotation: Annotation, height: int, width: int) -> list[float] | None:
        """Corners x0, y0, x1, y1, half-open, in pixels of an image of this size; None without a bbox."""
        if annotation.bbox is None:
            return None
        x, y, across, down = annotation.bbox
        scale = self._shares.scale(height, width)
        return [x * scale[0], y * scale[1], (x + across) * scale[0], (y + down) * scale[1]]

    def ground_truth(
        self, image: str, height: int, width: int, class_of: Callable[[int], int | None]
    ) -> Annotations | None:
        """Instances of an image whose category has a class, in file order; None where the file has no masks for it.

        Crowds are kept and marked; the annotation's `ignore` becomes `difficult`. An entry with a box but no mask
        leaves the masks of its image unknown, as does any entry of a file that has no mask at all. Raises ValueError
        where the JSON's size is not the image's, or a segmentation cannot be read.
        """
        entry = self.images[image]
        said = entry.height or height, entry.width or width
        check_size(said, height, width, f"{self.path}: image {image}")
        kept = [(a, class_of(number)) for a, number in self._of_image.get(image, [])]
        kept = [(a, index) for a, index in kept if index is not None]
        if not self.annotated or any(a.box_only or not self._has_masks for a, _ in kept):
            if self.annotated:
                self.agreement.see_unknown(image)
            return None
        return make_annotations(
            (self._mask(a, height, width) for a, _ in kept),
            [index for _, index in kept],
            [a.id for a, _ in kept],
            shape=(height, width),
            crowd=[a.crowd for a, _ in kept],
            difficult=[a.ignore for a, _ in kept],
        )

    def _mask(self, annotation: Annotation, height: int, width: int) -> np.ndarray:
        try:
            mask = decode(annotation.segmentation, height, width, shares=self._shares.polygons)
        except ValueError as error:
            where = f"{self.path}: {annotation.label}"
            raise ValueError(f"{where} has a segmentation that cannot be read ({error}); mend it") from error
        if annotation.segmentation:
            self.agreement.see(annotation, mask, scale=self._shares.scale(height, width))
        return mask


def with_ids(annotations: Sequence[Annotation], path: Path) -> list[Annotation]:
    """Annotations with ids that are numbers and unique: their own, or else 1, 2, ... for all of the file."""
    ids = [annotation.id for annotation in annotations]
    if all(isinstance(number, int) for number in ids) and len(set(ids)) == len(ids):
        return list(annotations)
    log.warning("%s: annotations lack ids, or have text or repeats for them; they are numbered from 1 on", path)
    return [annotation._replace(id=number) for number, annotation in enumerate(annotations, start=1)]


def _sections(data: Any, path: Path) -> dict[str, Any]:
    missing = [key for key in ("images", "categories") if not isinstance(data, dict) or key not in data]
    if missing:
        raise ValueError(f"{path} has no {' and no '.join(missing)}; expected instance annotations in COCO's format")
    if data["images"] == []:
        raise ValueError(f"{path} lists no images; restore it")
    return data


def _name(image: CocoImage, path: Path) -> str:
    if image.file_name is None:
        raise ValueError(f"{path}: image {image.given_id} lacks its file_name; mend it")
    return image.file_name


def _numbered(categories: list[Category], path: Path) -> dict[int, Category]:
    """Categories by id; ids that are all text become 1, 2, ... in file order. Raises ValueError where two are alike."""
    check_once([category.id for category in categories], f"{path}: categories")
    check_once([category.name for category in categories], f"{path}: categories")
    texts = [category for category in categories if isinstance(category.id, str)]
    if texts and len(texts) < len(categories):
        raise ValueError(
            f"{path}: category {texts[0].name!r} has the id {texts[0].id!r}, while others have numbers; mend it"
        )
    if texts:
        log.warning("%s: ids of categories are text; the categories are numbered from 1 on", path)
    return {
        category.id if isinstance(category.id, int) else number: category
        for number, category in enumerate(categories, start=1)
    }
