"""Step `list_boxes`: annotated boxes of a split, in an artifact of their own that only the evaluation reads."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.workflow import step
from stages.images.annotated_boxes import Boxes, BoxFiles, CocoBoxes, VocBoxes, make_boxes
from stages.images.settings import ChosenImages

log = logging.getLogger(__name__)
# Kinds of data sets whose files have boxes beside the masks.
FILES: dict[str, Callable[[ChosenImages, str, list[str]], BoxFiles]] = {"voc": VocBoxes, "coco": CocoBoxes}


def list_boxes(*, images: Path, ground_truth: Path, output: Path, settings: ChosenImages, split: str) -> None:
    """List the annotated boxes of each image of a split.

    The boxes are those of the annotators where the data set has files of them (VOC's XML, COCO's JSON), so that images
    without masks can be measured by boxes; else the tight boxes of the annotated masks. Images with neither are counted
    in the log. Boxes of crowds and of difficult objects are kept and marked.

    Args:
        images: images.h5 of the split.
        ground_truth: ground_truth.h5 of the split.
        output: boxes.h5.
        settings: the data set.
        split: name of the split.

    Raises:
        ValueError: the artifacts are of other images, or the files are damaged.
    """
    origins: Counter[str] = Counter()
    with read(images, ImageRecord) as listed, read(ground_truth, GroundTruth) as annotations:
        classes = listed.header["classes"]
        # Boxes of tiles are those of the masks that were cut.
        from_files = settings.kind in FILES and settings.tiling is None
        files = FILES[settings.kind](settings, split, classes) if from_files else None
        header = {key: annotations.header[key] for key in ("classes", "category_ids")} | {"split": split}
        made_by = Provenance("list_boxes", settings, None, {"images": listed, "ground_truth": annotations})
        with create(output, AnnotatedBoxes, header=header, provenance=made_by) as writer:
            for i, image in enumerate(step.progress(listed.ids, total=len(listed), label="images")):
                size = int(listed.field(i, "height")), int(listed.field(i, "width"))
                given = None if files is None else files.boxes(image, *size)
                known = annotations.find(image) if given is None else None
                boxes = mask_boxes(known) if known is not None and known.annotated else given
                writer.append(record_of(image, boxes, size))
                origins["unknown" if boxes is None else "of masks" if given is None else "of annotators"] += 1
    log.info("images with boxes: %s", ", ".join(f"{count} {origin}" for origin, count in origins.items()))


def mask_boxes(ground_truth: GroundTruth) -> Boxes:
    """The tight boxes of the annotated masks."""
    return Boxes(
        boxes=ground_truth.regions.boxes().astype(np.float32),
        classes=ground_truth.classes,
        crowd=ground_truth.crowd,
        difficult=ground_truth.difficult,
    )


def record_of(image: str, boxes: Boxes | None, size: tuple[int, int]) -> AnnotatedBoxes:
    """The record of an image of size (height, width); None: its boxes are not known."""
    known = make_boxes([]) if boxes is None else boxes
    return AnnotatedBoxes(
        image=image, annotated=boxes is not None, height=size[0], width=size[1], boxes=known.boxes,
        classes=known.classes, crowd=known.crowd, difficult=known.difficult,
    )  # fmt: skip


if __name__ == "__main__":
    step.run(list_boxes)
