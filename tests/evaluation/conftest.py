"""Small images, predictions and ground truths for the tests of evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create
from stages.evaluation.settings import MaskMetricsSettings
from stages.ops.regions import Regions

SIZE = (6, 10)
CLASSES = ["cat", "dog"]
HEADERS: dict[str, dict[str, Any]] = {
    "images": {"name": "toy", "kind": "folder", "split": "val", "root": "", "negatives": 0, "unknown": 0},
    "ground_truth": {},
    "annotated boxes": {"split": "val"},
    "instances": {"run": "cim", "method": "cim", "supervision": "image tags"},
    "proposals": {"source": "heg", "supervision": "label-free"},
    "cues": {"head": "prm", "supervision": "image tags"},
    "cluster_labels": {},
    "pseudo instances": {"cues": "pam", "supervision": "image tags"},
    "refined labels": {"run": "bestie", "supervision": "image tags"},
    "semantic maps": {"source": "cam", "supervision": "image tags"},
}


def drawn(rectangles: Any, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Masks (N, H, W) of rectangles (y0, y1, x0, x1), or masks as they are."""
    if isinstance(rectangles, np.ndarray):
        return rectangles
    masks = np.zeros((len(rectangles), *size), bool)
    for mask, (y0, y1, x0, x1) in zip(masks, rectangles, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


class Records:
    """Makes records from rectangles (y0, y1, x0, x1) or masks on an image of 6 x 10 pixels."""

    @staticmethod
    def instances(
        image: str, rectangles: Any = (), classes: Any = None, scores: Any = None, *, boxes: Any = None, size=SIZE
    ) -> Instances:
        count = len(rectangles)
        own = None if boxes is None else np.array(boxes, np.float32).reshape(-1, 4)
        return Instances(
            image=image,
            **packed_fields(Regions.from_masks(drawn(rectangles, size))),
            classes=np.array(classes if classes is not None else [0] * count, np.int32),
            scores=np.array(scores if scores is not None else np.linspace(0.9, 0.1, count), np.float32),
            boxes=own,
        )

    @staticmethod
    def boxes(
        image: str, boxes: Any = (), classes: Any = None, *, crowd: Any = None, difficult: Any = None,
        annotated: bool = True, size=SIZE,
    ) -> AnnotatedBoxes:  # fmt: skip
        count = len(boxes)
        return AnnotatedBoxes(
            image=image,
            annotated=annotated,
            height=size[0],
            width=size[1],
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            classes=np.array(classes if classes is not None else [0] * count, np.int32),
            crowd=np.array(crowd if crowd is not None else [False] * count, bool),
            difficult=np.array(difficult if difficult is not None else [False] * count, bool),
        )

    @staticmethod
    def ground_truth(
        image: str, rectangles: Any = (), classes: Any = None, *, crowd: Any = None, difficult: Any = None,
        void: np.ndarray | None = None, annotated: bool = True, size=SIZE,
    ) -> GroundTruth:  # fmt: skip
        masks, count = drawn(rectangles, size), len(rectangles)
        with_void = masks if void is None else np.concatenate([masks, void[None]])
        regions = Regions.from_masks(with_void)
        bits = np.zeros(0, np.uint8) if void is None else np.packbits(regions.membership[-1])
        return GroundTruth(
            image=image,
            annotated=annotated,
            **packed_fields(Regions(regions.atoms, regions.membership[:count], regions.sizes)),
            void=bits,
            classes=np.array(classes if classes is not None else [0] * count, np.int32),
            crowd=np.array(crowd if crowd is not None else [False] * count, bool),
            difficult=np.array(difficult if difficult is not None else [False] * count, bool),
            annotation_ids=np.arange(count, dtype=np.int64),
        )

    @staticmethod
    def proposals(image: str, rectangles: Any = ()) -> Proposals:
        scores = np.linspace(1, 0, len(rectangles), dtype=np.float32)
        return Proposals(image=image, **packed_fields(Regions.from_masks(drawn(rectangles))), scores=scores)

    @staticmethod
    def image(image: str, tags: Any = (True, False)) -> ImageRecord:
        return ImageRecord(
            image=image, path=f"{image}.jpg", encoded=np.zeros(0, np.uint8), height=SIZE[0], width=SIZE[1],
            file_size=1, digest="", tags=np.array(tags, bool), looked_at=any(tags),
        )  # fmt: skip

    @staticmethod
    def cues(image: str, class_scores: Any = (0, 0), peaks: Any = (), classes: Any = (), scores: Any = None) -> Cues:
        return Cues(
            image=image,
            responses=np.zeros((len(class_scores), 2, 2), np.float32),
            class_scores=np.array(class_scores, np.float32),
            peaks=np.array(peaks, np.int32).reshape(-1, 2),
            peak_classes=np.array(classes, np.int32),
            peak_scores=np.array(scores if scores is not None else [1.0] * len(peaks), np.float32),
        )

    @staticmethod
    def cluster_labels(image: str, clusters: Any, classes: Any) -> ClusterLabels:
        return ClusterLabels(
            image=image, clusters=np.array(clusters, np.int32), cluster_classes=np.array(classes, np.int32)
        )


@pytest.fixture
def records() -> type[Records]:
    return Records


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write records of one kind to an artifact; returns its path."""

    def write(*found: Any, kind: type | None = None, name: str | None = None, **header: Any) -> Path:
        kind = kind or type(found[0])
        path = tmp_path / f"{name or kind.KIND}.h5"
        full = {"classes": CLASSES, "category_ids": [17, 18], **HEADERS[kind.KIND], **header}
        provenance = Provenance(step="test", settings=None, seed=None, inputs={})
        with create(path, kind, header=full, provenance=provenance) as writer:
            for record in found:
                writer.append(record)
        return path

    return write


@pytest.fixture
def settings() -> MaskMetricsSettings:
    return MaskMetricsSettings(
        thresholds=[0.25, 0.5, 0.7, 0.75], void="background", difficult="count", curve_preset="voc", curve_threshold=0.5
    )
