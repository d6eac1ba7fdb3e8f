"""Step: chooses pseudo masks among a run's predictions on its training split."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.images import ImageRecord, check_classes, check_images
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.marks import BY_MARKS, marks_of_instances, read_marks
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.artifacts.supervision import joint_supervision
from stages.core.workflow import step
from stages.mask_rcnn.pseudo_masks import choose_pseudo_masks
from stages.mask_rcnn.settings import PseudoMaskSettings

log = logging.getLogger(__name__)


def make_pseudo_masks(
    *, images: Path, instances: Path, marks: Path | None, output: Path, settings: PseudoMaskSettings
) -> None:
    """Write the pseudo masks of each image that is to be trained on, as instances with the run's scores.

    With `tagged_only` an image that shows none of the classes is one without objects, and one that nobody looked at is
    left out. The header carries `run`, `method` and `supervision` of the predictions, and `counts`: images, `negatives`
    and `unknown` of these, other images without a pseudo mask (`empty`, kept or left out by the setting) and the number
    of pseudo masks. No annotation is read; how right the masks are is for the evaluation to say.

    `marks` are a person's, saved from the run's gallery: predictions with a mark of `drop_marked` become no pseudo
    mask, images with one are left out, both counted (`marked`), and the supervision says so. None: nothing is marked.

    Raises ValueError where the predictions are of other images or classes, hold scores that are not finite, where
    no image has a pseudo mask, and for marks of another run, another split, or other predictions.
    """
    with read(images, ImageRecord) as listing, read(instances, Instances) as predictions:
        _check(listing, predictions)
        chosen = {}
        counts = Counter({"images": len(listing), "negatives": 0, "unknown": 0, "empty": 0, "masks": 0})
        if marks is not None:
            counts["marked"] = 0
        said = {} if marks is None else read_marks(marks, run=predictions.header["run"], split=listing.header["split"])
        for i, image in enumerate(step.progress(listing.ids, total=len(listing), label="images")):
            tags, looked_at = listing.field(i, "tags"), listing.field(i, "looked_at")
            if settings.tagged_only and not looked_at:
                counts["unknown"] += 1
                continue
            if image in said and said[image].mark in settings.drop_marked:
                counts["marked"] += 1
                continue
            record = predictions.find(image)
            index = _chosen(record, tags, settings)
            if marks is not None:
                of_each = marks_of_instances(said.get(image), record, predictions.header["classes"], marks)
                dropped = np.isin(of_each[index], settings.drop_marked)
                counts["marked"] += int(dropped.sum())
                index = index[~dropped]
            negative = settings.tagged_only and not tags.any()
            counts["masks"] += len(index)
            counts["negatives"] += negative
            counts["empty"] += not negative and not len(index)
            if len(index) or negative or settings.empty == "negative":
                chosen[image] = index
        if not counts["masks"]:
            raise ValueError(
                f"{instances}: none of {len(listing)} images has a pseudo mask under {settings.canonical()}; lower "
                "score_threshold or set keep_best"
            )
        supervision = joint_supervision(predictions.header["supervision"], *([] if marks is None else [BY_MARKS]))
        _write(output, chosen, predictions, settings, counts, listing, supervision)
    log.info("%d pseudo masks in %d of %d images", counts["masks"], len(chosen), counts["images"])
    log.info("%d images show none of the classes and stay as images without objects", counts["negatives"])
    log.info("%d images that nobody looked at are left out", counts["unknown"])
    if marks is not None:
        log.info("%d images and predictions are left out as people have marked them", counts["marked"])
    log.info(
        "%d images that should have a pseudo mask have none and %s",
        counts["empty"],
        "stay as images without objects" if settings.empty == "negative" else "are left out",
    )


def _chosen(record: Instances, tags: np.ndarray, settings: PseudoMaskSettings) -> np.ndarray:
    if not np.isfinite(record.scores).all():
        raise ValueError(f"predictions of image {record.image!r} hold scores that are not finite; remake them")
    return choose_pseudo_masks(record.regions, record.classes, record.scores, tags=tags, settings=settings)


def _write(
    output: Path, chosen: dict[str, np.ndarray], predictions: Artifact[Instances], settings: PseudoMaskSettings,
    counts: dict[str, Any], images: Artifact[ImageRecord], supervision: str,
) -> None:  # fmt: skip
    kept = ("classes", "category_ids", "run", "method")
    header = {name: predictions.header[name] for name in kept} | {"supervision": supervision, "counts": dict(counts)}
    inputs = {"images": images, "instances": predictions}
    provenance = Provenance("make_pseudo_masks", settings, None, inputs)
    with create(output, Instances, header=header, provenance=provenance) as masks:
        for image, index in chosen.items():
            record = predictions.find(image)
            masks.append(
                Instances(
                    image=image,
                    classes=record.classes[index],
                    scores=record.scores[index],
                    **packed_fields(record.regions.select(index)),
                )
            )


def _check(images: Artifact[ImageRecord], predictions: Artifact[Instances]) -> None:
    check_classes(images, predictions, remedy="predict again")
    check_images(images, predictions, remedy="give predictions on the training split")


if __name__ == "__main__":
    step.run(make_pseudo_masks)
