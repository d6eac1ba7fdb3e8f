"""Step `chart_instances`: what is wrong with a run's instances, as numbers to compute with and as pictures."""

import logging
from pathlib import Path

from stages.core.artifacts.files import write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.storage import read
from stages.core.workflow import step
from stages.evaluation.average_precision import preset
from stages.evaluation.chart_data import chart_data, measured
from stages.evaluation.chart_plots import plot_charts
from stages.evaluation.overlaps import overlaps_of, shared_with_ground_truth
from stages.evaluation.pairing import annotated_images, check_same_classes, check_same_images
from stages.evaluation.settings import ChartSettings
from stages.evaluation.wording import shown, treatment
from stages.ops.errors import MEANINGS

log = logging.getLogger(__name__)


def chart_instances(
    *,
    instances: Path,
    images: Path,
    ground_truth: Path,
    output: Path,
    output_classes: Path,
    output_errors: Path,
    output_reliability: Path,
    output_sizes: Path,
    output_overlaps: Path,
    settings: ChartSettings,
) -> None:
    """Count what is right or wrong with predicted instances, and draw it.

    All of it by the preset and at the IoU of the precision-recall curves, `masks.curve_preset` and
    `masks.curve_threshold`: AP of each class, precision over recall, kinds of errors (`stages/ops/errors.py`),
    reliability of scores, AP over the size of instances, best IoU of each instance.

    Args:
        instances: instances.h5 of a run.
        images: images.h5 of the same split.
        ground_truth: ground_truth.h5 of the same split; images whose masks are not known are left out and counted.
        output: JSON; counts, and shares in percent, null where there is nothing to measure.
        output_classes: SVG; average precision of each class.
        output_errors: SVG; kinds of errors, of all classes and of each.
        output_reliability: SVG; share of right predictions by score.
        output_sizes: SVG; average precision by the area of instances.
        output_overlaps: SVG; best IoU of each instance.
        settings: preset, overlap and treatment of the metrics; bins and groups of the charts.

    Raises:
        ValueError: the artifacts differ in images or classes, or masks in size; scores that are not finite.
    """
    masks = settings.masks
    rule = preset(masks.curve_preset, void=masks.void, difficult=masks.difficult)
    with (
        read(instances, Instances) as found,
        read(images, ImageRecord) as listing,
        read(ground_truth, GroundTruth) as annotations,
    ):
        classes = check_same_classes(found, annotations)
        check_same_classes(listing, annotations)
        check_same_images(found, annotations)
        check_same_images(listing, annotations)
        known, measurements = annotated_images(annotations), []
        for image in step.progress(known, total=len(known), label="images measured"):
            predicted, annotated = found.find(image), annotations.find(image)
            shared = shared_with_ground_truth(predicted, annotated, void=masks.void)
            one = measured(
                overlaps_of(shared, predicted, annotated),
                intersections=shared.both,
                areas=shared.first,
                instance_areas=shared.second,
                rule=rule,
                threshold=masks.curve_threshold,
            )
            measurements.append(one)
        data = {
            **{key: found.header[key] for key in ("run", "method", "supervision")},
            "dataset": listing.header["name"],
            "split": listing.header["split"],
            "units": "percent",
            "n_images": len(known),
            "n_images_left_out": len(annotations) - len(known),
            "preset": masks.curve_preset,
            "overlap": masks.curve_threshold,
            "treatment": treatment(masks),
            "meanings": MEANINGS | {"missed": "an instance that no prediction overlaps by an IoU of 0.1"},
            **chart_data(measurements, classes=classes, rule=rule, settings=settings),
            "inputs": {"instances": found.fingerprint, "ground_truth": annotations.fingerprint},
        }
    write_json(output, data)
    plot_charts(
        data,
        classes=output_classes,
        errors=output_errors,
        reliability=output_reliability,
        sizes=output_sizes,
        overlaps=output_overlaps,
    )
    of_instances, reliability = data["errors"]["instances"], data["reliability"]
    log.info(
        "%d images, %d instances; the strongest prediction on each is: %s", len(known), of_instances["total"],
        ", ".join(f"{kind} {count}" for kind, count in of_instances["counts"].items()),
    )  # fmt: skip
    log.info("expected calibration error of scores: %s", shown(reliability["ECE"]))


if __name__ == "__main__":
    step.run(chart_instances)
