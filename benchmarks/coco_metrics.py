"""COCO's mask metrics by several libraries: equality with pycocotools, and time, in the same run.

    pip install pycocotools faster-coco-eval ultrafast-pycocotools hotcoco
    python -m benchmarks.coco_metrics --images 2000
    python -m benchmarks.coco_metrics --sets 400

Libraries that are not installed have no line. Images, instances and predictions are made: ellipses in 20 classes, of
which three have no instance, with crowds, images without instances or without predictions, and equal scores. Every
library gets what `CocoEvaluation` hands to its own. They take turns. Seconds are those of the processor, all threads
together, and of the wall; the least of the turns, as other work on the machine only adds. With `--sets`, many small
random sets are compared and not timed: empty masks, no instance or prediction at all, ties, more than 100 predictions.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import io
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.regions import packed_fields
from stages.evaluation.coco import CocoEvaluation
from stages.evaluation.overlaps import overlaps_with_ground_truth
from stages.ops.regions import Regions

LIBRARIES = {  # distribution: module and name of the index, and of the evaluation
    "pycocotools": ("pycocotools.coco", "COCO", "pycocotools.cocoeval", "COCOeval"),
    "faster-coco-eval": ("faster_coco_eval", "COCO", "faster_coco_eval", "COCOeval_faster"),
    "ultrafast-pycocotools": ("ultrafast_pycocotools", "COCO", "ultrafast_pycocotools", "COCOeval"),
    "hotcoco": ("hotcoco", "COCO", "hotcoco", "COCOeval"),
}
HEIGHT, WIDTH = 375, 500
CLASSES, CLASSES_WITH_INSTANCES = 20, 17
ARRAYS = ("precision", "recall", "scores")


@dataclass
class Found:
    """What one library gave: its arrays and 12 numbers, and processor and wall seconds of each turn."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    stats: np.ndarray = field(default_factory=lambda: np.zeros(0))
    seconds: list[tuple[float, float]] = field(default_factory=list)
    failure: str = ""


def ellipses(centers: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Masks (N, H, W) of ellipses; centers and radii (N, 2) as (y, x)."""
    masks = np.zeros((len(centers), HEIGHT, WIDTH), bool)
    for mask, center, radius in zip(masks, centers, radii, strict=True):
        start, end = np.maximum(center - radius, 0).astype(int), np.maximum(center + radius + 1, 0).astype(int)
        box = np.s_[start[0] : end[0], start[1] : end[1]]
        y, x = np.ogrid[box]
        inside = ((y - center[0]) / radius[0]) ** 2 + ((x - center[1]) / radius[1]) ** 2 <= 1
        mask[box] = inside[: mask[box].shape[0], : mask[box].shape[1]]
    return masks


def made_images(count: int, generator: np.random.Generator) -> Iterator[tuple[Instances, GroundTruth]]:
    """Predictions and ground truth of `count` images: 3 to 10 instances, 20 to 100 predictions."""
    for number in range(count):
        annotated = 0 if number % 20 == 1 else int(generator.integers(3, 11))
        predicted = 0 if number % 20 == 2 else int(generator.integers(20, 101))
        centers = generator.uniform(0, (HEIGHT, WIDTH), (annotated, 2))
        radii = np.exp(generator.uniform(np.log(6), np.log(120), (annotated, 2)))
        labels = generator.integers(0, CLASSES_WITH_INSTANCES, annotated)
        crowd = generator.random(annotated) < 0.05
        yield (
            predictions(str(number), predicted, (centers, radii, labels), generator),
            ground_truth(number, ellipses(centers, radii), labels, crowd),
        )


def predictions(
    image: str, count: int, annotated: tuple[np.ndarray, np.ndarray, np.ndarray], generator: np.random.Generator
) -> Instances:
    """`count` ellipses: two of three are an instance moved and stretched, the others lie anywhere; rounded scores."""
    centers = generator.uniform(0, (HEIGHT, WIDTH), (count, 2))
    radii = np.exp(generator.uniform(np.log(6), np.log(120), (count, 2)))
    labels = generator.integers(0, CLASSES, count)
    near = np.flatnonzero(generator.random(count) < 2 / 3) if len(annotated[2]) else np.zeros(0, int)
    source = generator.integers(0, max(len(annotated[2]), 1), len(near))
    if len(near):
        radii[near] = annotated[1][source] * np.exp(generator.normal(0, 0.15, (len(near), 2)))
        centers[near] = annotated[0][source] + generator.normal(0, 0.15, (len(near), 2)) * annotated[1][source]
        labels[near] = annotated[2][source]
    scores = np.sort(np.round(generator.random(count), 2))[::-1]
    regions = Regions.from_masks(ellipses(centers, radii))
    return Instances(
        image=image, **packed_fields(regions), classes=labels.astype(np.int32), scores=scores.astype(np.float32)
    )


def small_set(seed: int) -> CocoEvaluation:
    """A set of up to 11 small images of rectangles, some empty, with crowds; of every kind there may be none."""
    generator = np.random.default_rng(seed)
    size, classes = [(6, 10), (40, 50), (130, 150)][seed % 3], int(generator.integers(1, 5))
    evaluation = CocoEvaluation(classes)
    for number in range(generator.integers(1, 12)):
        annotated = int(generator.integers(0, 6)) * (seed % 17 != 0)
        predicted = int(generator.integers(0, generator.choice([8, 40, 130]))) * (seed % 19 != 0)
        truth, guesses = rectangles(generator, annotated, size), rectangles(generator, predicted, size)
        near = min(predicted, 3) if annotated else 0
        guesses[:near] = truth[generator.integers(0, max(annotated, 1), near)] if near else guesses[:near]
        guesses[:near] &= generator.random((near, *size)) < 0.9
        scores = np.sort(np.round(generator.random(predicted), [1, 2, 8][seed % 3]))[::-1]
        found = Instances(
            image=str(number),
            **packed_fields(Regions.from_masks(guesses)),
            classes=generator.integers(0, classes, predicted).astype(np.int32),
            scores=scores.astype(np.float32),
        )
        labels = generator.integers(0, max(classes - 1, 1), annotated).astype(np.int32)
        evaluation.add(
            found, ground_truth(number, truth, labels, generator.random(annotated) < 0.25), void="background"
        )
    return evaluation


def rectangles(generator: np.random.Generator, count: int, size: tuple[int, int]) -> np.ndarray:
    """Masks (N, *size) of rectangles, some of them empty."""
    masks = np.zeros((count, *size), bool)
    for mask in masks:
        (y, x), (height, width) = generator.integers(0, size), generator.integers(0, size)
        mask[y : y + height, x : x + width] = True
    return masks


def ground_truth(number: int, masks: np.ndarray, labels: np.ndarray, crowd: np.ndarray) -> GroundTruth:
    return GroundTruth(
        image=str(number),
        annotated=True,
        **packed_fields(Regions.from_masks(masks)),
        void=np.zeros(0, np.uint8),
        classes=labels.astype(np.int32),
        crowd=crowd,
        difficult=np.zeros(len(masks), bool),
        annotation_ids=np.arange(len(masks)),
    )


def collected(count: int, seed: int) -> tuple[CocoEvaluation, dict[str, float]]:
    """All images, added to our evaluation, and processor seconds of the parts of the step that go image by image."""
    evaluation, seconds = (
        CocoEvaluation(CLASSES),
        {"overlaps of the other presets": 0.0, "masks encoded": 0.0},
    )
    for found, truth in made_images(count, np.random.default_rng(seed)):
        calls: tuple[Callable[[], object], ...] = (
            lambda i=found, g=truth: overlaps_with_ground_truth(i, g, void="background"),
            lambda i=found, g=truth: evaluation.add(i, g, void="background"),
        )
        for name, call in zip(seconds, calls, strict=True):
            start = time.process_time()
            call()
            seconds[name] += time.process_time() - start
    return evaluation, seconds


def evaluated(library: str, evaluation: CocoEvaluation) -> Found:
    """One turn of a library; its time goes from annotations to arrays."""
    modules, names = LIBRARIES[library][::2], LIBRARIES[library][1::2]
    index, evaluator = (getattr(importlib.import_module(m), name) for m, name in zip(modules, names, strict=True))
    images, categories = evaluation._images, evaluation._categories
    halves = [deepcopy(half) for half in (evaluation._ground_truths, evaluation._predictions)]  # they write into them
    start, wall = time.process_time(), time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        made = []
        for annotations in halves:
            dataset = {"images": images, "categories": categories, "annotations": annotations}
            if library == "hotcoco":
                made.append(index(dataset))
                continue
            api = index()
            api.dataset = dataset
            api.createIndex()
            made.append(api)
        found = evaluator(*made, "segm")
        found.evaluate()
        found.accumulate()
        seconds = time.process_time() - start, time.perf_counter() - wall
        found.summarize()
    arrays = {name: np.asarray(found.eval[name]) for name in ARRAYS}
    return Found(arrays, np.asarray(found.stats, float)[:12], [seconds])


def compare(evaluation: CocoEvaluation, libraries: list[str], turns: int) -> dict[str, Found]:
    """Let the libraries take turns on the same annotations."""
    results = {library: Found() for library in libraries}
    for _ in range(turns):
        for library, found in results.items():
            if found.failure:
                continue
            try:
                turn = evaluated(library, evaluation)
            except Exception as error:  # a library that cannot take our input is a result, too
                found.failure = f"{type(error).__name__}: {error}"
                continue
            results[library] = replace(turn, seconds=found.seconds + turn.seconds)
    return results


def differences(found: Found, reference: Found) -> str:
    """Largest difference of each array and of the 12 numbers; "equal" where every bit is."""
    parts = []
    for name in (*ARRAYS, "stats"):
        theirs, ours = (
            (found.stats, reference.stats) if name == "stats" else (found.arrays[name], reference.arrays[name])
        )
        if theirs.shape != ours.shape:
            parts.append(f"{name}: shape {theirs.shape}, not {ours.shape}")
        elif not np.array_equal(theirs, ours):
            parts.append(f"{name} {np.abs(theirs - ours).max():.1e}")
    return ", ".join(parts) or "equal"


def installed() -> list[str]:
    """The libraries that are here; pycocotools is, as it is ours."""
    found = []
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(library)
            found.append(library)
    return found


def compare_sets(count: int) -> None:
    """Print in how many of `count` small sets each library differs from pycocotools, and one of the differences."""
    different: dict[str, list[str]] = {library: [] for library in installed()}
    for seed in range(count):
        results = compare(small_set(seed), list(different), 1)
        for library, found in results.items():
            told = found.failure or differences(found, results["pycocotools"])
            different[library] += [] if told == "equal" else [f"set {seed}: {told}"]
    for library, found in different.items():
        print(f"{library:<24}{len(found):>5} of {count} sets differ{': ' + found[-1] if found else ''}")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description="COCO's mask metrics by several libraries: equality and time.")
    parser.add_argument("--images", type=int, default=201)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", type=int, default=0, help="compare that many small sets instead")
    arguments = parser.parse_args()
    if arguments.sets:
        compare_sets(arguments.sets)
        return
    evaluation, parts = collected(arguments.images, arguments.seed)
    counts = len(evaluation._ground_truths), len(evaluation._predictions)
    print(f"{arguments.images} images, {counts[0]} instances, {counts[1]} predictions, {HEIGHT} x {WIDTH} pixels\n")
    for name, seconds in parts.items():
        print(f"{name:<34}{seconds:>9.2f} s")
    results = compare(evaluation, installed(), arguments.turns)
    reference = results["pycocotools"]
    for library, found in results.items():
        name = f"{library} {importlib.metadata.version(library)}"
        if found.failure:
            print(f"{name:<34}  failed: {found.failure}")
            continue
        processor, wall = (min(parts) for parts in zip(*found.seconds, strict=True))
        print(f"{name:<34}{processor:>9.2f} s, wall {wall:.2f} s; {differences(found, reference)}")


if __name__ == "__main__":
    main()
