"""Step `report_pseudo_instances`: how right the components are that BESTIE accepts as instances, and what they miss."""

import logging
from collections import Counter
from pathlib import Path

from stages.core.artifacts.files import write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.storage import Artifact, read
from stages.core.workflow import step
from stages.evaluation.mask_counts import count_masks, shares_of
from stages.evaluation.pairing import check_same_classes, check_same_pictures
from stages.evaluation.settings import PseudoMaskReportSettings
from stages.evaluation.wording import shown, treatment

log = logging.getLogger(__name__)


def report_pseudo_instances(
    *, pseudo_instances: Path, ground_truth: Path, output: Path, settings: PseudoMaskReportSettings
) -> None:
    """Count accepted components that meet an annotated instance, that meet none, and instances that none meets.

    `count_masks` says how. The share of missed instances is what self-refinement has to make up for (BESTIE section
    3.5: 70 % on VOC 2012).

    Args:
        pseudo_instances: of a split.
        ground_truth: ground_truth.h5 of the same split; pictures whose masks are not known are left out and counted.
        output: JSON; counts, and shares in percent, null where there is nothing to measure.
        settings: the overlaps that make a component right, and treatment of void and difficult.

    Raises:
        ValueError: other classes or pictures.
    """
    with read(pseudo_instances, PseudoInstances) as pseudo, read(ground_truth, GroundTruth) as truth:
        classes = check_same_classes(pseudo, truth)
        check_same_pictures(pseudo, truth)
        counts, known = count_masks(
            lambda picture: pseudo.find(picture).as_instances, truth, settings, class_count=len(classes)
        )
        report = {
            "run": pseudo.header["run"],
            "supervision": pseudo.header["supervision"],
            "cues_from": pseudo.header["cues"],
            "units": "percent",
            "n_images": len(known),
            "n_images_left_out": len(truth) - len(known),
            "made": made(pseudo, known),
            "treatment": treatment(settings),
            "inputs": {"pseudo_instances": pseudo.fingerprint, "ground_truth": truth.fingerprint},
        } | shares_of(counts, classes, settings)
    write_json(output, report)
    log.info("%s", report["made"])
    for threshold, found in report["thresholds"].items():
        log.info(
            "accepted components at IoU %s: %d right, %d wrong, %d instances missed; precision %s, recall %s",
            threshold, found["true_positives"], found["false_positives"], found["misses"], shown(found["precision"]),
            shown(found["recall"]),
        )  # fmt: skip


def made(pseudo: Artifact[PseudoInstances], known: list[str]) -> dict[str, int]:
    """How many cues, candidates and accepted components there are: `all`, and in the pictures measured."""
    counts, measured = Counter(), set(known)
    for i, picture in enumerate(pseudo.ids):
        found = {
            "cues": len(pseudo.field(i, "point_scores")),
            "candidates": int(pseudo.field(i, "candidates")),
            "accepted": len(pseudo.field(i, "classes")),
        }
        counts.update(found)
        if picture in measured:
            counts.update({f"{name}_measured": number for name, number in found.items()})
    return dict(counts)


if __name__ == "__main__":
    step.run(report_pseudo_instances)
