"""Reads instance annotations in COCO's JSON format: polygons, plain and compressed RLE."""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from stages.images.dataset import Annotations, check_inside, check_unique, make_annotations
from stages.images.index_maps import check_size
from stages.ops import rle
from stages.ops.windows import WindowedMask


class CocoJson:
    """The images, categories and annotations of one JSON file, by official ids."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises FileNotFoundError or ValueError naming what does not agree."""
        self.path = path
        data = _read(path)
        self.images: dict[int, dict[str, Any]] = _by_id(data["images"], "images", path)
        self.categories: dict[int, str] = {
            number: entry["name"] for number, entry in sorted(_by_id(data["categories"], "categories", path).items())
        }
        check_unique(self.categories.values(), f"{path}: categories")
        check_unique((entry["file_name"] for entry in self.images.values()), f"{path}: file_name")
        for entry in self.images.values():
            check_inside(entry["file_name"], str(path))
        self.annotated = "annotations" in data  # image_info files of COCO's test sets have none
        self._of_image = self._group(data.get("annotations", []))

    def _group(self, annotations: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
        groups: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for entry in annotations:
            where = f"{self.path}: annotation {entry.get('id')}"
            if entry.get("image_id") not in self.images:
                raise ValueError(f"{where} is of image {entry.get('image_id')}, which the file does not list; mend it")
            if entry.get("category_id") not in self.categories:
                raise ValueError(f"{where} tags category {entry.get('category_id')}, which is not among the categories")
            groups[entry["image_id"]].append(entry)
        return dict(groups)

    def annotations(self, image: int) -> list[dict[str, Any]] | None:
        """The entries of an image in file order, as the file has them; None where the file has no annotations."""
        return self._of_image.get(image, []) if self.annotated else None

    def tags(self, image: int, *, crowds: bool) -> set[int]:
        """Category ids of an image's annotations; those of crowds only where `crowds`."""
        return {a["category_id"] for a in self._of_image.get(image, []) if crowds or not a.get("iscrowd", 0)}

    def ground_truth(
        self, image: int, height: int, width: int, class_of: Callable[[int], int | None]
    ) -> Annotations | None:
        """Instances of an image whose category has a class, in file order; None where the file has no masks for it.

        Crowds are kept and marked; the annotation's `ignore` becomes `difficult`. Raises ValueError where the JSON's
        size is not the image's, or a segmentation cannot be read.
        """
        entry = self.images[image]
        if "height" in entry and "width" in entry:
            check_size((entry["height"], entry["width"]), height, width, f"{self.path}: image {image}")
        annotations = self._of_image.get(image, [])
        if not self.annotated or any("segmentation" not in a for a in annotations):
            return None
        kept = [(a, class_of(a["category_id"])) for a in annotations]
        kept = [(a, index) for a, index in kept if index is not None]
        return make_annotations(
            (self._mask(a, height, width) for a, _ in kept),
            [index for _, index in kept],
            [a["id"] for a, _ in kept],
            shape=(height, width),
            crowd=[bool(a.get("iscrowd", 0)) for a, _ in kept],
            difficult=[bool(a.get("ignore", 0)) for a, _ in kept],
        )

    def _mask(self, annotation: dict[str, Any], height: int, width: int) -> WindowedMask:
        where = f"{self.path}: annotation {annotation['id']}"
        segmentation = annotation["segmentation"]
        if not segmentation:
            return WindowedMask.of(np.zeros((0, 0), bool))
        try:
            encoding = segmentation if isinstance(segmentation, dict) else _of_polygons(segmentation, height, width)
            return rle.decode_windowed(encoding, height, width)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where} has a segmentation that cannot be read ({error}); mend it") from error


def _of_polygons(polygons: list[list[float]], height: int, width: int) -> dict[str, Any]:
    """RLE of the union of polygons, filled by COCO's own rule."""
    # pycocotools takes four numbers for a box; a polygon has at least three corners.
    if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        raise ValueError("a polygon has fewer than three corners or an odd number of coordinates")
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist; set the path of the annotations") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); restore it") from error
    missing = [key for key in ("images", "categories") if not isinstance(data, dict) or key not in data]
    if missing:
        raise ValueError(f"{path} has no {' and no '.join(missing)}; expected instance annotations in COCO's format")
    if not data["images"]:
        raise ValueError(f"{path} lists no images; restore it")
    return data


def _by_id(entries: list[dict[str, Any]], key: str, path: Path) -> dict[int, dict[str, Any]]:
    named = {"images": "file_name", "categories": "name"}[key]
    for entry in entries:
        if "id" not in entry or named not in entry:
            raise ValueError(f"{path}: an entry of {key} lacks id or {named}: {str(entry)[:80]}; mend it")
    check_unique((str(entry["id"]) for entry in entries), f"{path}: {key}")
    return {entry["id"]: entry for entry in entries}
