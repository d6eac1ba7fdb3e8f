"""Reads regions from COCO-style JSON: run-length encoded masks (RLE), polygons or rows of pixels, of one image or many.

Known files: SAM's automatic masks (a list of {segmentation, predicted_iou, stability_score} per image), SA-1B
({image, annotations} per image), COCO results (a list of {image_id, segmentation, score}; CutLER), COCO data sets
({images, annotations}; MaskCut).
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.images import ImageRecord
from stages.core.coco.agreement import Agreement
from stages.core.coco.entries import Annotation, CocoImage, image_keys, read_annotations, read_images
from stages.core.coco.ids import OFFICIAL, match_ids
from stages.core.coco.json_files import load_json
from stages.core.coco.masks import decode
from stages.core.coco.names import match_names
from stages.core.coco.shares import Shares, find_shares
from stages.proposals.imported import MaskList
from stages.proposals.listed import Listed

log = logging.getLogger(__name__)
_KNOWN = (
    "a list of annotations of one image (SAM), {image, annotations} (SA-1B), a list of results with image_id (COCO "
    "results, CutLER), or {images, annotations} (COCO data set)"
)


class JsonPerImage:
    """Files that hold the regions of one image each."""

    def __init__(self, files: dict[str, Path], folder: Path) -> None:
        """`files` has the file of each image's id."""
        self._files = files
        self._agreement = Agreement(str(folder))
        self._in_shares: list[str] = []

    def regions(self, image: ImageRecord) -> MaskList:
        """The regions in the image's file. Raises ValueError naming it and the entry."""
        path = self._files[image.image]
        content = load_json(path)
        if isinstance(content, dict) and "annotations" in content and _is_of_one(content):
            content = content["annotations"]
        if not isinstance(content, list):
            raise _unknown(path, content)
        annotations = read_annotations(content, path, ())
        shares = find_shares(annotations)
        self._in_shares += [path.name] if shares.polygons else []
        return mask_list(annotations, image, str(path), shares, self._agreement)

    def conclude(self) -> None:
        """Say whether masks are what their entries say. Raises ValueError where most are not."""
        if self._in_shares:
            log.warning(
                "%d files, such as %s, have polygons within 0 to 1, which are read as shares of the image's sides",
                len(self._in_shares), self._in_shares[0],
            )  # fmt: skip
        self._agreement.conclude()


class JsonOfManyImages:
    """A file that holds the regions of many images, all of it in memory."""

    def __init__(self, path: Path, listed: Listed) -> None:
        """Read the file and find the images in it. Raises ValueError where it has regions of none of them."""
        self.path = path
        content = load_json(path)
        given = content.get("annotations") if isinstance(content, dict) else content
        if not isinstance(given, list):
            raise _unknown(path, content)
        _check_names_images(given, path)
        annotations = read_annotations(given, path, ("image_id",))
        entries = read_images(content.get("images", []), path) if isinstance(content, dict) else []
        if annotations and all(annotation.segmentation is None for annotation in annotations):
            raise ValueError(f"{path}: none of {len(annotations)} annotations has a `segmentation`; expected {_KNOWN}")
        self._shares = find_shares(annotations)
        self._agreement = Agreement(str(path))
        self._entries: dict[str, CocoImage] | None = None
        if entries:
            keys, as_written = image_keys(entries, path)
            self._entries = dict(zip(keys, entries, strict=True))
            self._keys = _find_entries(self._entries, listed, path)
        else:
            as_written = True
            self._keys = match_ids(listed.paths, annotations, listed.kind, str(path))
        self._of_key: dict[str, list[Annotation]] = defaultdict(list)
        for annotation in annotations:
            self._of_key[annotation.given_image if as_written else annotation.image].append(annotation)
        self._report(listed)
        if any(self._shares):
            log.warning("%s: %s lie within 0 to 1, and are read as shares of the image's sides", path, self._shares)

    def regions(self, image: ImageRecord) -> MaskList:
        """The regions of an image; none where the file lists the image, or only results, and holds none of it.

        Raises:
            ValueError: the file lists its images and this one is not among them, or is of another size.
        """
        keys = self._keys.get(image.image, [])
        name = f"{self.path}, image {image.image!r}"
        if self._entries is not None:
            if not keys:
                raise ValueError(
                    f"{self.path} lists {len(self._entries)} images, but not {image.path or image.image!r}; take the "
                    "file of this split, or add the image to it, with its path as file_name"
                )
            _check_size(self._entries[keys[0]], image, name)
        annotations = [annotation for key in keys for annotation in self._of_key.get(key, [])]
        return mask_list(annotations, image, name, self._shares, self._agreement)

    def conclude(self) -> None:
        """Say whether masks are what their entries say. Raises ValueError where most are not."""
        self._agreement.conclude()

    def _report(self, listed: Listed) -> None:
        """Log how many images the file has. Raises ValueError where none has a region: it is of another data set."""
        found = [image for image, keys in self._keys.items() if any(self._of_key.get(key) for key in keys)]
        if listed.paths and not found:
            names = self._of_key if self._entries is None else [e.file_name or key for key, e in self._entries.items()]
            like = ", ".join(sorted(names)[:3]) or "(none)"
            raise ValueError(
                f"{self.path} has regions of none of the {len(listed.paths)} images; its images are like {like}, those "
                f"of the list like {next(iter(listed.paths.values()))}; give the file of this data set and split"
            )
        log.info("%s has regions of %d of %d images", self.path, len(found), len(listed.paths))
        if self._entries is not None:
            stray = sum(len(self._of_key[key]) for key in self._of_key.keys() - self._entries.keys())
            if stray:
                log.warning("%s: %d annotations are of images that the file does not list", self.path, stray)
            return
        of_none = self._of_key.keys() - {key for keys in self._keys.values() for key in keys}
        if listed.kind != OFFICIAL and of_none and len(found) < len(listed.paths):
            log.warning(
                "%s: %d image_id, such as %s, are names of no image, and %d images have no region; if image_id are "
                "numbers of another file, give the proposals with their `images`",
                self.path, len(of_none), min(of_none), len(listed.paths) - len(found),
            )  # fmt: skip


def mask_list(
    annotations: Sequence[Annotation], image: ImageRecord, name: str, shares: Shares, agreement: Agreement
) -> MaskList:
    """Annotations of an image as masks, decoded when asked for and held against what their entries say.

    Where no annotation has a score, the file's order ranks. `name` says in messages where they are from. Raises
    ValueError where only some have a score.
    """
    known = [annotation.score for annotation in annotations if annotation.score is not None]
    if known and len(known) < len(annotations):
        raise ValueError(f"{name}: {len(known)} of {len(annotations)} annotations have a score; give all one or none")
    height, width = int(image.height), int(image.width)

    def mask(i: int) -> np.ndarray:
        annotation = annotations[i]
        try:
            found = decode(annotation.segmentation, height, width, shares=shares.polygons)
        except ValueError as error:
            raise ValueError(
                f"{name}: {annotation.label} is no mask of an image of {height}x{width} pixels (height x width) "
                f"({error}); give the file made from this image"
            ) from error
        of_image = annotation._replace(label=f"{image.image}: {annotation.label}")
        if annotation.box_only:
            agreement.see_none(of_image)
        elif annotation.segmentation:
            agreement.see(of_image, found, scale=shares.scale(height, width))
        return found

    return MaskList(len(annotations), mask, np.array(known, np.float64) if known else None)


def _find_entries(entries: dict[str, CocoImage], listed: Listed, path: Path) -> dict[str, list[str]]:
    """The entry of each image: by its path, or by its id where the file gives no names or has a COCO data set's ids."""
    names = {key: entry.file_name for key, entry in entries.items() if entry.file_name is not None}
    if names and len(names) < len(entries):
        raise ValueError(f"{path}: {len(names)} of {len(entries)} images have a file_name; give it to all or to none")
    found = match_names(listed.paths, names, str(path))
    if not found and (not names or listed.kind == OFFICIAL):
        found = {image: image for image in listed.paths if image in entries}
        if names and found:
            log.warning("%s: no file_name is that of an image, but ids are; images are matched by id", path)
    return {image: [key] for image, key in found.items()}


def _check_size(entry: CocoImage, image: ImageRecord, name: str) -> None:
    said, expected = (entry.height, entry.width), (int(image.height), int(image.width))
    if any(side is not None and side != other for side, other in zip(said, expected, strict=True)):
        raise ValueError(
            f"{name}: the file says {said[0]}x{said[1]} pixels (height x width), but the image is {expected[0]}x"
            f"{expected[1]} after EXIF orientation; give the file made from this image"
        )


def _check_names_images(annotations: list[Any], path: Path) -> None:
    for i, annotation in enumerate(annotations):
        if isinstance(annotation, dict) and "image_id" not in annotation:
            raise ValueError(
                f"{path}: annotation {i} names no image_id; put a file of one image in a folder, as <image id>.json"
            )


def _is_of_one(content: dict[str, Any]) -> bool:
    images = content.get("images", [])
    return not isinstance(images, list) or len(images) <= 1


def _unknown(path: Path, content: Any) -> ValueError:
    found = f"an object with {sorted(content)[:8]}" if isinstance(content, dict) else f"a {type(content).__name__}"
    return ValueError(f"{path} holds {found}, which is no known layout; expected {_KNOWN}")
