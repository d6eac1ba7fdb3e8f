"""Reads regions from COCO-style JSON: run-length encoded masks (RLE) or polygons, of one image or of many.

Known files: SAM's automatic masks (a list of {segmentation, predicted_iou, stability_score} per image), SA-1B
({image, annotations} per image), COCO results (a list of {image_id, segmentation, score}; CutLER), COCO data sets
({images, annotations}; MaskCut).
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from stages.core.artifacts.images import ImageRecord
from stages.ops import rle
from stages.proposals.imported import MaskList

_KNOWN = (
    "a list of annotations of one image (SAM), {image, annotations} (SA-1B), a list of results with image_id (COCO "
    "results, CutLER), or {images, annotations} (COCO data set)"
)
Annotation = Mapping[str, Any]


def read_image_json(path: Path, image: ImageRecord) -> MaskList:
    """The regions in a file that holds one image."""
    content = load_json(path)
    if isinstance(content, dict) and isinstance(content.get("annotations"), list) and "images" not in content:
        content = content["annotations"]
    if not isinstance(content, list):
        raise _unknown(path, content)
    return mask_list(content, image, str(path))


class JsonOfManyImages:
    """A file that holds the regions of many images, all of it in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = load_json(path)
        self._listed: set[str] | None = None
        if isinstance(content, list):
            self._annotations = _by_image(content, path, names={})
        elif isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            names = {_key(image["id"]): _key(PurePath(image.get("file_name", "")).stem) for image in content["images"]}
            self._annotations = _by_image(content["annotations"], path, names=names)
            self._listed = {*names, *names.values()}
        else:
            raise _unknown(path, content)

    def regions(self, image: ImageRecord) -> MaskList:
        """The regions of an image; none where the file lists the image, or only results, and holds none of it.

        Raises:
            ValueError: the file lists its images and this one is not among them.
        """
        key = _key(image.image)
        if self._listed is not None and key not in self._listed:
            raise ValueError(
                f"{self.path} lists {len(self._listed)} image ids and names, but not {image.image!r}; "
                "take the file of this split, or add the image to it"
            )
        return mask_list(self._annotations.get(key, []), image, f"{self.path}, image {image.image!r}")

    def check_any(self, images: Sequence[str]) -> None:
        """Raise ValueError where the file holds nothing of any of these images: it belongs to another data set."""
        if images and not any(_key(image) in self._annotations for image in images):
            found = ", ".join(sorted(self._annotations)[:3]) or "(none)"
            raise ValueError(
                f"{self.path} has regions of none of the {len(images)} images; its image ids are like {found}, "
                f"the images' like {images[0]}; give the file of this data set and split"
            )


def mask_list(annotations: Sequence[Annotation], image: ImageRecord, name: str) -> MaskList:
    """Annotations of an image as masks, decoded when asked for.

    Scores are `score`, or SAM's predicted_iou * stability_score; where no annotation has any, the file's order ranks.
    """
    for i, annotation in enumerate(annotations):
        if not isinstance(annotation, dict) or "segmentation" not in annotation:
            found = sorted(annotation) if isinstance(annotation, dict) else type(annotation).__name__
            raise ValueError(f"{name}: annotation {i} holds {found}, expected a `segmentation`; expected {_KNOWN}")
    size = int(image.height), int(image.width)
    scores = [_score(annotation) for annotation in annotations]
    known = [score for score in scores if score is not None]
    if known and len(known) < len(scores):
        raise ValueError(f"{name}: {len(known)} of {len(scores)} annotations have a score; give all one or none")
    return MaskList(
        count=len(annotations),
        mask=lambda i: _decode(annotations[i]["segmentation"], size, f"{name}: annotation {i}"),
        scores=np.array(known, dtype=np.float64) if known else None,
    )


def load_json(path: Path) -> Any:
    """The content of a JSON file. Raises ValueError naming a file that is cut off or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON or was cut off ({error}); fetch it again") from error


def _by_image(annotations: list[Annotation], path: Path, *, names: dict[str, str]) -> dict[str, list[Annotation]]:
    """Annotations by image id, and by the image's file name where the file gives it."""
    found: dict[str, list[Annotation]] = defaultdict(list)
    for i, annotation in enumerate(annotations):
        if not isinstance(annotation, dict) or "image_id" not in annotation:
            raise ValueError(
                f"{path}: annotation {i} names no image_id; put a file of one image in a folder, as <image id>.json"
            )
        key = _key(annotation["image_id"])
        for name in {key, names.get(key, key)}:
            found[name].append(annotation)
    return dict(found)


def _key(image: Any) -> str:
    """One spelling of an image's id: 139, "139" and "000000000139" are the same image."""
    text = str(image)
    return str(int(text)) if text.isdecimal() else text


def _score(annotation: Annotation) -> float | None:
    if "score" in annotation:
        return float(annotation["score"])
    if "predicted_iou" in annotation:
        return float(annotation["predicted_iou"]) * float(annotation.get("stability_score", 1))
    return None


def _decode(segmentation: Any, size: tuple[int, int], name: str) -> np.ndarray:
    """An RLE, compressed or not, or a list of polygons as an (H, W) bool mask."""
    try:
        if isinstance(segmentation, list):
            segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
        return rle.decode([segmentation], *size)[0]
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"{name} is no mask of an image of {size} (height, width) ({error}); give the file made from this image"
        ) from error


def _unknown(path: Path, content: Any) -> ValueError:
    found = f"an object with {sorted(content)[:8]}" if isinstance(content, dict) else f"a {type(content).__name__}"
    return ValueError(f"{path} holds {found}, which is no known layout; expected {_KNOWN}")
