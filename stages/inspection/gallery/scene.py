"""What the layers of an image are made from, and the forms in which they go to a page.

A layer is a dict that JSON can hold. `type` says how the page draws it:
  regions     masks as runs of atoms and the atoms of each region, at the size of the scene; classes, scores, IoU
  labels      a map of numbers as runs, 0 nothing, 1 + k class k, 255 uncertain
  map         a grid of bytes that is stretched over the image, and points on it
  directions  offsets to centers, two grids of bytes
All have `title`, `notes` (lines of text) and may have `points` [x, y, class].
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.records import Record
from stages.inspection.settings import GallerySettings
from stages.ops.errors import KINDS, ErrorKinds, kinds_of_errors
from stages.ops.overlaps import iou
from stages.ops.regions import Regions
from stages.ops.resize import nearest

Layer = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Scene:
    """One image, and what its layers may look at.

    Attributes:
        shape: height and width of the image itself, in which points and masks are given.
        size: height and width at which masks go to the page.
        tags: (C,) bool, the image's tags.
        classes: names of the C classes.
        settings: how much of each artifact is shown.
        ground_truth: annotated instances.
        records: the first record of each kind that the gallery shows of the image.
        kept: what was computed of a record, by its place in memory; several layers ask for the same.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    tags: np.ndarray
    classes: list[str]
    settings: GallerySettings
    ground_truth: GroundTruth
    records: dict[str, Record] = field(default_factory=dict)
    kept: dict[tuple[str, int], Any] = field(default_factory=dict)

    def _once(self, what: str, record: Record, make: Callable[[], T]) -> T:
        key = (what, id(record))
        if key not in self.kept:
            self.kept[key] = (record, make())  # the record stays in memory, and with it its place
        return self.kept[key][1]

    def regions(self, record: Any) -> Regions:
        """The regions of a record that has some."""
        return self._once("regions", record, lambda: record.regions)

    def shared_with_truth(self, record: Any) -> np.ndarray:
        """Pixels (N, G) that a record's regions share with the annotated instances."""
        annotated = self.regions(self.ground_truth)
        return self._once("shared", record, lambda: self.regions(record).intersections(annotated))

    def overlap_with_truth(self, record: Any) -> np.ndarray:
        """IoU (N, G) of a record's regions with the annotated instances."""
        areas = self.regions(record).areas(), self.regions(self.ground_truth).areas()
        return iou(self.shared_with_truth(record).astype(np.float64), *areas)

    def class_overlap(self, instances: Instances) -> np.ndarray:
        """IoU (N, G) of instances with the annotated ones, 0 where the classes differ."""
        same = instances.classes[:, None] == self.ground_truth.classes
        return np.where(same, self.overlap_with_truth(instances), 0.0)

    def sorted_out(self, instances: Instances) -> ErrorKinds | None:
        """What is right or wrong with each instance, best first as they stand; None where masks are not known."""
        known = self.ground_truth
        if not known.annotated:
            return None
        return self._once(
            "kinds",
            instances,
            lambda: kinds_of_errors(
                self.shared_with_truth(instances),
                areas=self.regions(instances).areas(),
                instance_areas=self.regions(known).areas(),
                classes=instances.classes,
                instance_classes=known.classes,
                crowd=known.crowd,
            ),
        )


def region_layer(scene: Scene, title: str, regions: Regions, entries: list[dict[str, Any]], **more: Any) -> Layer:
    """Masks of all `regions` at the scene's size, an entry (class `c`, score `s`, ...) for each.

    `area` is counted at the image's own size. Runs go row by row: length and atom in turn; atoms of no region are 0.
    """
    member = regions.membership
    used = np.flatnonzero(member.any(axis=0))
    number = np.zeros(len(regions.sizes), np.int64)
    number[used] = np.arange(1, len(used) + 1)
    areas = regions.areas()
    drawn = [
        {"atoms": number[np.flatnonzero(row)].tolist(), "area": int(area), **entry}
        for row, area, entry in zip(member, areas, entries, strict=True)
    ]
    runs = _runs(number[nearest(regions.atoms, *scene.size)])
    height, width = scene.size
    return {"type": "regions", "title": title, "h": height, "w": width, "runs": runs, "regions": drawn, **more}


def label_layer(scene: Scene, title: str, labels: np.ndarray, **more: Any) -> Layer:
    """A semantic map (H, W) of the image's size."""
    height, width = scene.size
    runs = _runs(nearest(labels, height, width).astype(np.int64))
    return {"type": "labels", "title": title, "h": height, "w": width, "runs": runs, **more}


def map_layer(title: str, response: np.ndarray, **more: Any) -> Layer:
    """A response map (rows, columns): zero and below is dark, its maximum brightest."""
    positive = np.maximum(np.asarray(response, np.float32), 0)
    scaled = positive / max(float(positive.max(initial=0.0)), float(np.finfo(np.float32).tiny)) * 255
    rows, columns = response.shape
    return {"type": "map", "title": title, "h": rows, "w": columns, "data": _bytes(scaled), **more}


def direction_layer(title: str, offsets: np.ndarray, **more: Any) -> Layer:
    """Offsets (2, rows, columns) (dy, dx): bytes, 128 is none, 1 and 255 the longest of the image."""
    offsets = np.asarray(offsets, np.float32)
    longest = max(float(np.hypot(*offsets).max(initial=0.0)), float(np.finfo(np.float32).tiny))
    dy, dx = (_bytes(128 + 127 * part / longest) for part in offsets)
    rows, columns = offsets.shape[1:]
    return {"type": "directions", "title": title, "h": rows, "w": columns, "dy": dy, "dx": dx, **more}


def scaled_points(scene: Scene, points: np.ndarray, classes: np.ndarray) -> list[list[float]]:
    """[x, y, class] of points (n, 2) (y, x) of the image, as shares of its sides."""
    height, width = scene.shape
    places = (np.asarray(points, float) + 0.5) / (height, width)
    return [[round(float(x), 4), round(float(y), 4), int(c)] for (y, x), c in zip(places, classes, strict=True)]


def instance_entries(scene: Scene, instances: Instances, shown: np.ndarray) -> list[dict[str, Any]]:
    """Class, score and, where masks are known, IoU, kind of error and the annotated instance that it is about."""
    kinds = scene.sorted_out(instances)
    entries = []
    for i in shown.tolist():
        entry: dict[str, Any] = {"i": i, "c": int(instances.classes[i]), "s": round(float(instances.scores[i]), 4)}
        if kinds is not None:
            entry |= {"iou": round(float(kinds.iou[i]), 3), "kind": KINDS[kinds.of[i]], "of": int(kinds.instance[i])}
        entries.append(entry)
    return entries


def _runs(numbers: np.ndarray) -> list[int]:
    """Length and value of each run of a map (H, W), row by row, in turn."""
    flat = numbers.reshape(-1)
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    return np.stack([np.diff(starts, append=len(flat)), flat[starts]], axis=1).reshape(-1).tolist()


def _bytes(values: np.ndarray) -> str:
    return base64.b64encode(np.clip(np.round(values), 0, 255).astype(np.uint8).tobytes()).decode("ascii")
