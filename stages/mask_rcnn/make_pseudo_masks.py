"""Step: chooses pseudo masks among a run's predictions on its training split."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.images import Picture
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.workflow import step
from stages.mask_rcnn.pseudo_masks import choose_pseudo_masks
from stages.mask_rcnn.settings import PseudoMaskSettings

log = logging.getLogger(__name__)


def make_pseudo_masks(*, images: Path, instances: Path, output: Path, settings: PseudoMaskSettings) -> None:
    """Write the pseudo masks of each picture that is to be trained on, as instances with the run's scores.

    The header carries `run`, `method` and `supervision` of the predictions, and `counts`: pictures, untagged ones
    (left out where `tagged_only`), those without a pseudo mask (`empty`, kept or left out by the setting) and the
    number of pseudo masks. No annotation is read; how right the masks are is for the evaluation to say.

    Raises ValueError where the predictions are of other pictures or classes, hold scores that are not finite, or
    where no picture has a pseudo mask.
    """
    with read(images, Picture) as pictures, read(instances, Instances) as predictions:
        _check(pictures, predictions)
        chosen = {}
        counts = Counter({"pictures": len(pictures), "untagged": 0, "empty": 0, "masks": 0})
        for i, picture in enumerate(step.progress(pictures.ids, total=len(pictures), label="pictures")):
            tags = pictures.field(i, "tags")
            if settings.tagged_only and not tags.any():
                counts["untagged"] += 1
                continue
            index = _chosen(predictions.find(picture), tags, settings)
            counts["masks"] += len(index)
            counts["empty"] += not len(index)
            if len(index) or settings.empty == "negative":
                chosen[picture] = index
        if not counts["masks"]:
            raise ValueError(
                f"{instances}: none of {len(pictures)} pictures has a pseudo mask under {settings.canonical()}; lower "
                "score_threshold or set keep_best"
            )
        _write(output, chosen, predictions, settings, counts, pictures)
    log.info("%d pseudo masks in %d of %d pictures", counts["masks"], len(chosen), counts["pictures"])
    log.info("%d pictures are untagged and left out", counts["untagged"])
    log.info(
        "%d pictures have no pseudo mask and %s",
        counts["empty"],
        "stay as pictures without objects" if settings.empty == "negative" else "are left out",
    )


def _chosen(record: Instances, tags: np.ndarray, settings: PseudoMaskSettings) -> np.ndarray:
    if not np.isfinite(record.scores).all():
        raise ValueError(f"predictions of picture {record.picture!r} hold scores that are not finite; remake them")
    return choose_pseudo_masks(record.regions, record.classes, record.scores, tags=tags, settings=settings)


def _write(
    output: Path, chosen: dict[str, np.ndarray], predictions: Artifact[Instances], settings: PseudoMaskSettings,
    counts: dict[str, Any], pictures: Artifact[Picture],
) -> None:  # fmt: skip
    kept = ("classes", "category_ids", "run", "method", "supervision")
    header = {name: predictions.header[name] for name in kept} | {"counts": dict(counts)}
    inputs = {"images": pictures, "instances": predictions}
    provenance = Provenance("make_pseudo_masks", settings, None, inputs)
    with create(output, Instances, header=header, provenance=provenance) as masks:
        for picture, index in chosen.items():
            record = predictions.find(picture)
            masks.append(
                Instances(
                    picture=picture,
                    classes=record.classes[index],
                    scores=record.scores[index],
                    **packed_fields(record.regions.select(index)),
                )
            )


def _check(pictures: Artifact[Picture], predictions: Artifact[Instances]) -> None:
    if predictions.header["classes"] != pictures.header["classes"]:
        raise ValueError(
            f"{predictions.path} holds classes {predictions.header['classes']}, {pictures.path} holds "
            f"{pictures.header['classes']}; predict again"
        )
    missing = sorted(set(pictures.ids) - set(predictions.ids))
    if missing:
        raise ValueError(
            f"{predictions.path} lacks {len(missing)} of the {len(pictures)} pictures of {pictures.path}, such as "
            f"{missing[:3]}; give predictions on the training split"
        )


if __name__ == "__main__":
    step.run(make_pseudo_masks)
