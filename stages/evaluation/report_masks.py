"""Step `report_masks`: how right the masks are that a run trains on, whoever made them, over its training."""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stages.core.artifacts.files import write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances, check_pseudo_masks
from stages.core.artifacts.kinds import read_any
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.storage import Artifact, read
from stages.core.workflow import step
from stages.evaluation.mask_counts import count_masks, shares_of
from stages.evaluation.pairing import annotated_images, check_listed, check_same_classes, check_same_images
from stages.evaluation.plots import plot_counts
from stages.evaluation.settings import PseudoMaskReportSettings
from stages.evaluation.wording import shown, treatment

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """The masks that are trained on at one time.

    Attributes:
        words: what they are, in words.
        update: how many updates of the network made them; 0: they stand before the training.
        of: the masks of an image; None: it is left out, its instances are misses.
    """

    words: str
    update: int
    of: Callable[[str], Instances | None]


def report_masks(
    *, labels: list[Path], ground_truth: Path, output: Path, output_plot: Path, settings: PseudoMaskReportSettings
) -> None:
    """Count masks that meet an annotated instance, that meet none, and instances that none meets.

    `count_masks` says how. Labels that a network refines are counted after each update that they hold; the true
    positives over the updates are figure 6 of BESTIE, the share of missed instances before them what its refinement
    has to make up for (section 3.5: 70 % on VOC 2012). Refined labels are made from the tags of the split, whatever
    the split is for: nothing else of a run may be judged by them.

    Args:
        labels: artifacts of one split and run with masks that it trains on: pseudo masks, pseudo instances or refined
            labels, in the order in which they are trained on.
        ground_truth: ground_truth.h5 of the same split; images whose masks are not known are left out and counted.
        output: JSON; counts, and shares in percent, null where there is nothing to measure.
        output_plot: PNG; true and false positives, over the updates where there are several.
        settings: the overlaps that make a mask right, and treatment of void and difficult.

    Raises:
        ValueError: artifacts without such masks, plain predictions; other classes, images or runs.
    """
    with read(ground_truth, GroundTruth) as annotations, _opened(labels) as artifacts:
        classes = _checked(artifacts, annotations)
        known = annotated_images(annotations)
        entries = []
        for artifact in artifacts:
            for one in labels_of(artifact):
                counts, _ = count_masks(one.of, annotations, settings, class_count=len(classes))
                entry = {"labels": one.words, "update": one.update, **shares_of(counts, classes, settings)}
                entries.append(entry)
        last = artifacts[-1]
        report = {
            "run": last.header["run"],
            "supervision": last.header["supervision"],
            "cues_from": next((a.header["cues"] for a in artifacts if "cues" in a.header), None),
            "units": "percent",
            "n_images": len(known),
            "n_images_left_out": len(annotations) - len(known),
            "n_images_without_masks": {artifact.kind: _without_masks(artifact, known) for artifact in artifacts},
            "made": {artifact.kind: made(artifact, known) for artifact in artifacts},
            "labels": entries,
            "treatment": treatment(settings),
            "inputs": {artifact.kind: artifact.fingerprint for artifact in [*artifacts, annotations]},
        }
    plot_counts(output_plot, report)
    write_json(output, report)
    _log(report)


def labels_of(artifact: Artifact) -> list[Labels]:
    """What is trained on by an artifact, in the order of the updates. Raises ValueError for one without such masks."""
    if artifact.kind == RefinedLabels.KIND:
        updates = artifact.header["updates"]
        return [Labels("refined labels", n, partial(_refined, artifact, n)) for n in updates]
    if artifact.kind == PseudoInstances.KIND:
        return [Labels("accepted components", 0, lambda image: artifact.find(image).as_instances)]
    if artifact.kind == ModuleLabels.KIND:
        words = f"labels of the module {artifact.header['module']}"
        return [Labels(words, 0, lambda image: artifact.find(image).as_instances)]
    if artifact.kind == Instances.KIND:
        check_pseudo_masks(artifact)
        listed = set(artifact.ids)
        return [Labels("pseudo masks", 0, lambda image: artifact.find(image) if image in listed else None)]
    raise ValueError(f"{artifact.path} is an artifact of kind {artifact.kind!r}, which holds no masks to train on")


def _refined(labels: Artifact[RefinedLabels], update: int, image: str) -> Instances:
    return labels.find(image).after(update)


def made(artifact: Artifact, known: list[str]) -> dict[str, Any]:
    """How the labels came to be, in counts: of the file, and of the images that are measured."""
    if artifact.kind == PseudoInstances.KIND:
        return _accepted(artifact, known)
    return artifact.header.get("counts", {})


def _accepted(pseudo: Artifact[PseudoInstances], known: list[str]) -> dict[str, int]:
    """How many cues, candidates and accepted components there are, and how many of them in the images measured."""
    counts: Counter[str] = Counter()
    measured = set(known)
    for i, image in enumerate(pseudo.ids):
        found = {
            "cues": len(pseudo.field(i, "point_scores")),
            "candidates": int(pseudo.field(i, "candidates")),
            "accepted": len(pseudo.field(i, "classes")),
        }
        counts.update(found)
        if image in measured:
            counts.update({f"{name}_measured": number for name, number in found.items()})
    return dict(counts)


def _without_masks(artifact: Artifact, known: list[str]) -> int:
    """How many of the images measured are left out of an artifact or have no mask in it."""
    masked = {image for i, image in enumerate(artifact.ids) if len(artifact.field(i, "classes"))}
    return len(set(known) - masked)


@contextlib.contextmanager
def _opened(paths: list[Path]) -> Iterator[list[Artifact]]:
    if not paths:
        raise ValueError("no labels given; a report needs at least one artifact with masks that are trained on")
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(read_any(path)) for path in paths]


def _checked(artifacts: list[Artifact], ground_truth: Artifact[GroundTruth]) -> list[str]:
    """The classes of all; raises ValueError where an artifact is of other classes, images or another run."""
    first = artifacts[0]
    for artifact in artifacts:
        labels_of(artifact)
        check_same_classes(artifact, ground_truth)
        if artifact.kind == Instances.KIND:  # pseudo masks may leave images out
            check_listed(artifact, ground_truth)
        else:
            check_same_images(artifact, ground_truth)
        if artifact.header["run"] != first.header["run"]:
            raise ValueError(
                f"{first.path} is of run {first.header['run']!r}, {artifact.path} of {artifact.header['run']!r}; give "
                "labels of one run"
            )
    return first.header["classes"]


def _log(report: dict[str, Any]) -> None:
    for kind, counts in report["made"].items():
        if counts:
            log.info("%s: %s", kind, ", ".join(f"{name} {number}" for name, number in counts.items()))
    for entry in report["labels"]:
        after = f" after {entry['update']} updates" if entry["update"] else ""
        for threshold, found in entry["thresholds"].items():
            log.info(
                "%s%s at IoU %s: %d right, %d wrong, %d instances missed; precision %s, recall %s",
                entry["labels"], after, threshold, found["true_positives"], found["false_positives"], found["misses"],
                shown(found["precision"]), shown(found["recall"]),
            )  # fmt: skip


if __name__ == "__main__":
    step.run(report_masks)
