"""Metrics of all runs on the images that settings were chosen on, on the others, and on all.

    python -m benchmarks.halves results/voc_animals --split val --chosen-on benchmarks/voc_animals_chosen_on.txt

Prints a Markdown table of mAP by the preset voc, in percent. Void counts as background, difficult instances count.
"""

import argparse
from pathlib import Path

import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.storage import read
from stages.evaluation.average_precision import average_precision, preset
from stages.evaluation.overlaps import Overlaps, overlaps_with_ground_truth

THRESHOLDS = (0.25, 0.5, 0.75)


def runs_in(results: Path, split: str) -> list[str]:
    """Names of the runs, and of their parts, that have predictions on a split."""
    found = results.rglob(f"{split}/instances.h5")
    return sorted(path.parents[1].relative_to(results).as_posix() for path in found)


def overlaps_of(results: Path, run: str, split: str) -> tuple[dict[str, Overlaps], int]:
    """Overlaps of each image with known masks, by its id, and the number of classes."""
    with (
        read(results / run / split / "instances.h5", Instances) as found,
        read(results / split / "ground_truth.h5", GroundTruth) as annotations,
    ):
        known = [record for record in annotations if record.annotated]
        pairs = {
            record.image: overlaps_with_ground_truth(found.find(record.image), record, void="background")
            for record in known
        }
        return pairs, len(annotations.header["classes"])


def numbers(overlaps: list[Overlaps], class_count: int) -> str:
    """mAP25/50/75 of some images."""
    measured = average_precision(overlaps, class_count=class_count, thresholds=THRESHOLDS, rule=preset("voc"))
    return "/".join(f"{value:.1f}" for value in 100 * np.asarray(measured.mean))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results/<data set>")
    parser.add_argument("--split", default="val")
    parser.add_argument("--chosen-on", type=Path, required=True, help="text file with the ids of the images")
    options = parser.parse_args()
    listed = dict.fromkeys(options.chosen_on.read_text(encoding="utf-8").split())
    print("| run, mAP25/50/75 | chosen on | others | all |", "| --- | --- | --- | --- |", sep="\n")
    for run in runs_in(options.results, options.split):
        overlaps, class_count = overlaps_of(options.results, run, options.split)
        missing = sorted(listed.keys() - overlaps.keys())
        if missing:
            raise SystemExit(
                f"{options.chosen_on} names {len(missing)} images that are not in the split: {missing[:3]}"
            )
        others = [one for image, one in overlaps.items() if image not in listed]
        parts = [[overlaps[image] for image in listed], others, list(overlaps.values())]
        print(f"| `{run}` |", " | ".join(numbers(part, class_count) for part in parts), "|")


if __name__ == "__main__":
    main()
