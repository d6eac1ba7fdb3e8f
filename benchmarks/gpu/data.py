"""Random images of VOC's size, and all that the trainers read beside them."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from benchmarks.regions import superpixels
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.records import Record
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.ops.regions import Regions

MADE_BY = Provenance("benchmark", None, None, {})
KINDS = {
    "images": ImageRecord, "proposals": Proposals, "cluster_labels": ClusterLabels, "semantics": SemanticMaps,
    "pseudo_instances": PseudoInstances, "pseudo_masks": Instances, "module_labels": ModuleLabels,
}  # fmt: skip
HEADERS: dict[str, dict[str, Any]] = {
    "images": {"name": "random", "kind": "folder", "split": "train", "root": "", "negatives": 0, "unknown": 0},
    "proposals": {"source": "random", "supervision": "label-free"},
    "cluster_labels": {"supervision": "image tags"},
    "semantics": {"source": "random", "supervision": "image tags"},
    "pseudo_instances": {"run": "random", "supervision": "image tags", "cues": "pam"},
    "pseudo_masks": {"run": "random", "method": "random", "supervision": "image tags"},
    "module_labels": {"run": "random", "module": "detection", "supervision": "image tags"},
}


@dataclass(frozen=True)
class Extent:
    """How much is made. VOC's images are 375 x 500 for the most part and show one or two of 20 classes."""

    images: int = 8
    height: int = 375
    width: int = 500
    proposals: int = 1000
    cells: int = 500
    classes: int = 20


def grown_regions(extent: Extent, generator: np.random.Generator) -> Regions:
    """Unions of superpixels whose centers lie in random ellipses, from a few pixels to most of the image.

    Like the regions of `benchmarks.regions`, but not each connected: these take no time to make.
    """
    labels = superpixels(extent.cells, generator, size=(extent.height, extent.width))
    sizes = np.bincount(labels.ravel(), minlength=extent.cells)
    ys, xs = np.indices(labels.shape)
    centers = np.stack(
        [np.bincount(labels.ravel(), axis.ravel(), extent.cells) / sizes.clip(1) for axis in (ys, xs)]
    )  # fmt: skip
    present = np.flatnonzero(sizes)
    indicator = np.zeros((extent.proposals, extent.cells), bool)
    radii = np.exp(generator.uniform(np.log(8), np.log(0.6 * extent.width), (extent.proposals, 2)))
    seeds = generator.choice(present, extent.proposals)
    for row, seed, (high, wide) in zip(indicator, seeds, radii, strict=True):
        dy, dx = centers - centers[:, [seed]]
        row[:] = ((dy / high) ** 2 + (dx / wide) ** 2 < 1) & (sizes > 0)
        row[seed] = True
    return Regions.from_superpixels(labels, indicator)


def records(number: int, extent: Extent) -> dict[str, Record]:
    """What stands in each artifact of one image."""
    generator = np.random.default_rng(number)
    height, width, image = extent.height, extent.width, f"random{number}"
    rgb = cv2.resize(generator.integers(0, 256, (height // 8, width // 8, 3), np.uint8), (width, height))
    encoded = cv2.imencode(".jpg", rgb)[1].ravel()
    tags = np.zeros(extent.classes, bool)
    tags[generator.integers(0, extent.classes, 2)] = True
    shown = np.flatnonzero(tags)
    regions = grown_regions(extent, generator)
    clusters = generator.integers(0, 4, len(regions)).astype(np.int32)
    kind = np.array([-1, *shown, -1], np.int32)[np.minimum(clusters, len(shown) + 1)]
    kind[generator.random(len(regions)) < 0.5] = -1
    # One ellipse of a class each, and a cue in its middle.
    labels, points = np.zeros((height, width), np.uint8), []
    instances = np.zeros((height, width), np.int32)
    masks = np.zeros((len(shown), height, width), bool)
    for place, label in enumerate(shown):
        center = int(width * (place + 0.5) / len(shown)), height // 2
        ellipse = np.zeros((height, width), np.uint8)
        cv2.ellipse(ellipse, center, (width // 6, height // 3), 0, 0, 360, 1, cv2.FILLED)
        masks[place] = ellipse.astype(bool)
        labels[masks[place]], instances[masks[place]] = 1 + label, 1 + place
        points.append((center[1], center[0]))
    objects, classes = Regions.from_masks(masks), shown.astype(np.int32)
    cues = np.array(points, np.float32).reshape(-1, 2)
    ones = np.ones(len(classes), np.float32)
    return {
        "images": ImageRecord(
            image=image, path="", encoded=encoded, height=height, width=width, file_size=encoded.size, digest="",
            tags=tags, looked_at=True,
        ),
        "proposals": Proposals(
            image=image, scores=np.linspace(1, 0, len(regions), dtype=np.float32), **packed_fields(regions)
        ),
        "cluster_labels": ClusterLabels(image=image, clusters=clusters, cluster_classes=kind),
        "semantics": SemanticMaps(image=image, labels=labels),
        "pseudo_instances": PseudoInstances(
            image=image, labels=labels, instances=instances, candidates=len(classes), classes=classes, centroids=cues,
            points=cues, point_classes=classes, point_scores=ones, by_points=False,
        ),
        "pseudo_masks": Instances(image=image, classes=classes, scores=ones, **packed_fields(objects)),
        "module_labels": ModuleLabels(
            image=image, boxes=objects.boxes().astype(np.float32), classes=classes, weights=ones,
            attention=np.zeros((len(classes), 8, 8), np.float16), **packed_fields(objects),
        ),
    }  # fmt: skip


def write(folder: Path, extent: Extent) -> None:
    """Write an artifact of each kind."""
    classes = [f"class{number}" for number in range(extent.classes)]
    made = [records(number, extent) for number in range(extent.images)]
    for name, kind in KINDS.items():
        header = {"classes": classes, "category_ids": list(range(1, 1 + len(classes))), **HEADERS[name]}
        with create(folder / f"{name}.h5", kind, header=header, provenance=MADE_BY) as writer:
            for one in made:
                writer.append(one[name])


class Data:
    """The artifacts of a folder that `write` has filled, open while the block lasts."""

    def __init__(self, folder: Path, names: Iterable[str] = tuple(KINDS)) -> None:
        self._folder, self._names, self._stack = folder, tuple(names), ExitStack()
        self._open: dict[str, Artifact] = {}

    def __enter__(self) -> Self:
        for name in self._names:
            self._open[name] = self._stack.enter_context(read(self._folder / f"{name}.h5", KINDS[name]))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __getitem__(self, name: str) -> Artifact:
        return self._open[name]

    @property
    def class_count(self) -> int:
        return len(self["images"].header["classes"])
