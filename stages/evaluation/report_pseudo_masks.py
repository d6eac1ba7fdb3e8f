"""Step `report_pseudo_masks`: how right the masks are that a refinement trains on."""

import logging
from pathlib import Path
from typing import Any

from stages.core.artifacts.files import write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances, check_pseudo_masks
from stages.core.artifacts.storage import Artifact, read
from stages.core.workflow import step
from stages.evaluation.mask_counts import count_masks, shares_of
from stages.evaluation.pairing import check_same_classes
from stages.evaluation.settings import PseudoMaskReportSettings
from stages.evaluation.wording import shown, treatment

log = logging.getLogger(__name__)


def report_pseudo_masks(
    *, pseudo_masks: Path, ground_truth: Path, output: Path, settings: PseudoMaskReportSettings
) -> None:
    """Count pseudo masks that meet an annotated instance, that meet none, and instances that none meets.

    `count_masks` says how. Pictures that the pseudo masks leave out have none: their instances are misses.

    Args:
        pseudo_masks: pseudo masks of a split.
        ground_truth: ground_truth.h5 of the same split; pictures whose masks are not known are left out and counted.
        output: JSON; counts, and shares in percent, null where there is nothing to measure.
        settings: the overlaps that make a pseudo mask right, and treatment of void and difficult.

    Raises:
        ValueError: predictions that are no pseudo masks; other classes; the truth lacks a picture.
    """
    with read(pseudo_masks, Instances) as masks, read(ground_truth, GroundTruth) as truth:
        check_pseudo_masks(masks)
        classes = check_same_classes(masks, truth)
        strangers = sorted(set(masks.ids) - set(truth.ids))
        if strangers:
            raise ValueError(
                f"{truth.path} lacks {len(strangers)} of the {len(masks)} pictures of {masks.path}, such as "
                f"{strangers[:3]}; make both from the same split's images.h5"
            )
        listed = set(masks.ids)
        counts, known = count_masks(
            lambda picture: masks.find(picture) if picture in listed else None, truth, settings,
            class_count=len(classes),
        )  # fmt: skip
        report = _about(masks, truth, settings, known) | shares_of(counts, classes, settings)
    write_json(output, report)
    for threshold, found in report["thresholds"].items():
        log.info(
            "pseudo masks at IoU %s: %d right, %d wrong, %d instances missed; precision %s, recall %s",
            threshold, found["true_positives"], found["false_positives"], found["misses"], shown(found["precision"]),
            shown(found["recall"]),
        )  # fmt: skip


def _about(
    masks: Artifact[Instances], truth: Artifact[GroundTruth], settings: PseudoMaskReportSettings, known: list[str]
) -> dict[str, Any]:
    listed = set(masks.ids)
    empty = [picture for i, picture in enumerate(masks.ids) if not len(masks.field(i, "scores"))]
    return {
        "run": masks.header["run"],
        "supervision": masks.header["supervision"],
        "units": "percent",
        "n_images": len(known),
        "n_images_left_out": len(truth) - len(known),
        "n_images_without_pseudo_masks": len(set(known) - listed | set(known) & set(empty)),
        "made": masks.header["counts"],
        "treatment": treatment(settings),
        "inputs": {"pseudo_masks": masks.fingerprint, "ground_truth": truth.fingerprint},
    }


if __name__ == "__main__":
    step.run(report_pseudo_masks)
