"""Time of BESTIE's self-refinement against a plain component-by-component implementation, in the same run.

    python -m benchmarks.refinement

Four crops of 416 x 416 pixels whose semantic maps hold 4 or 40 components in all, two touching objects each. The plain
implementation works as the official code does: for each component a max-pooling of the full crop and a full map of
distances to each center. Both must give equal labels. Outputs are as of a trained network, as of an untrained one, or
noise with centers everywhere. Exits with 1 where labels differ or a target is missed. With a GPU the same is timed
there, in wall seconds.
"""

import argparse
import os
import sys

import cv2
import numpy as np
import torch

from benchmarks.timing import fastest
from stages.bestie.components import Components, batched
from stages.bestie.network import Outputs
from stages.bestie.refinement import refined_targets
from stages.bestie.settings import RefinementSettings
from stages.bestie.targets import Points, Targets, center_heatmap
from stages.core.artifacts.map_components import class_components
from tests.bestie import reference

CROPS, SIDE, CLASSES, SIGMA = 4, 416, 20, 6.0
# Components, outputs, and how many times faster than plain on one core at least. 50 was aimed at throughout.
CASES = ((4, "trained", 15), (40, "trained", 50), (4, "untrained", 15), (40, "untrained", 50), (4, "noise", 8))
OFFICIAL = {  # settings of the official code
    "enabled": True, "first_step": 0, "min_area": 50, "max_instances": 5, "weight": "center_and_class",
    "grouping": {
        "center_threshold": 0.3, "window": 41, "clustering": True, "cluster_magnitude": 2.5, "cluster_area": 21,
        "cluster_tolerance": 3, "cluster_exclusive": True, "cluster_threshold": 0.05, "cluster_distance": 100.0,
    },
}  # fmt: skip


class Case:
    """Semantic maps, tags and outputs of one batch; `side_by_side` objects touch in each component."""

    def __init__(self, components: int, *, outputs: str, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.tags = np.zeros((CROPS, CLASSES), bool)
        self.labels = np.zeros((CROPS, SIDE, SIDE), np.uint8)
        ys, xs = np.indices((SIDE, SIDE))
        cells = 1 if components == CROPS else 4
        step = SIDE // cells
        rows: list[tuple[int, int, int, int]] = []
        steps = np.zeros((CROPS, 2, SIDE, SIDE), np.float32)
        for number in range(components):
            image, cell = number % CROPS, number // CROPS
            category = int(rng.integers(0, 2)) + 3 * image
            self.tags[image, category] = True
            y, x = (step * (place + 0.5) for place in divmod(cell, cells))
            radius = 0.3 * step
            self.labels[image][((ys - y) / radius) ** 2 + ((xs - x) / radius) ** 2 < 1] = 1 + category
            pair = [(int(y), int(x + shift * radius / 2)) for shift in (-1, 1)]
            mine = self.labels[image] == 1 + category
            mine &= (abs(ys - y) < radius + 1) & (abs(xs - x) < radius + 1)
            for (cy, cx), half in zip(pair, (xs < x, xs >= x), strict=True):
                steps[image, 0][mine & half], steps[image, 1][mine & half] = (
                    cy - ys[mine & half], cx - xs[mine & half],
                )  # fmt: skip
                rows.append((image, category, cy, cx))
        self.outputs = getattr(self, f"_{outputs}")(rows, steps, torch.Generator().manual_seed(seed))

    def _trained(self, rows: list, steps: np.ndarray, generator: torch.Generator) -> Outputs:
        """As a trained network gives: Gaussians at the centers, offsets to them, both with some noise."""
        table = torch.tensor(rows)
        points = Points(table[:, 2:], table[:, 0], table[:, 1])
        heatmap = center_heatmap(points, size=torch.Size((CROPS, CLASSES, SIDE, SIDE)), sigma=SIGMA)
        semantic = torch.zeros(CROPS, CLASSES + 1, SIDE, SIDE)
        semantic.scatter_(1, torch.from_numpy(self.labels.astype(np.int64))[:, None], 5.0)
        noise = [
            torch.randn(values.shape, generator=generator) for values in (semantic, heatmap, torch.from_numpy(steps))
        ]
        return Outputs(semantic + 0.5 * noise[0], 0.8 * heatmap + 0.01 * noise[1], torch.from_numpy(steps) + noise[2])

    def _untrained(self, rows: list, steps: np.ndarray, generator: torch.Generator) -> Outputs:
        """As at the first update: everything near 0."""
        shapes = [(CROPS, channels, SIDE, SIDE) for channels in (CLASSES + 1, CLASSES, 2)]
        return Outputs(*(0.001 * torch.randn(shape, generator=generator) for shape in shapes))

    def _noise(self, rows: list, steps: np.ndarray, generator: torch.Generator) -> Outputs:
        """Centers everywhere: the worst that training can meet."""
        shapes = [(CROPS, channels, SIDE, SIDE) for channels in (CLASSES + 1, CLASSES, 2)]
        return Outputs(*(torch.rand(shape, generator=generator) for shape in shapes))

    def components(self, settings: RefinementSettings) -> Components:
        """Connected parts of the tagged classes; the loader finds these while the network runs."""
        return batched(
            [
                class_components(part, classes=tags, min_area=settings.min_area)
                for part, tags in zip(self.labels, self.tags, strict=True)
            ]
        )


def differ(found: Targets, plain: tuple) -> bool:
    """Whether labels differ by more than the order of sums does."""
    pairs = zip(found, plain, strict=True)
    return not all(np.allclose(own.cpu().numpy(), other, rtol=1e-4, atol=1e-5) for own, other in pairs)


def main() -> None:
    """Measure, print a markdown table, and exit with 1 where labels differ or the target is missed."""
    argparse.ArgumentParser(description="Speed of BESTIE's self-refinement.").parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    settings = RefinementSettings.model_validate(OFFICIAL)
    print(f"{CROPS} crops of {SIDE} x {SIDE}, one core\n")
    print("| components | outputs | plain, s | ours, s | of that: components, s | times faster | target | GPU, s |")
    print("|---|---|---|---|---|---|---|---|")
    failures = []
    for count, outputs, target in CASES:
        case = Case(count, outputs=outputs)
        labelling, components = fastest(lambda case=case: case.components(settings), 5)
        if len(components.classes) != count:
            sys.exit(f"the case has {len(components.classes)} components, expected {count}")

        def refine(case: Case = case, components: Components = components) -> Targets:
            return refined_targets(case.outputs, components, sigma=SIGMA, settings=settings)

        seconds, found = fastest(refine, 5)
        plain, expected = fastest(
            lambda case=case: reference.refine(*case.outputs, case.labels, case.tags, sigma=SIGMA, settings=settings), 1
        )
        on_gpu = "-"
        if torch.cuda.is_available():
            case.outputs, there = Outputs(*(part.cuda() for part in case.outputs)), components.to(torch.device("cuda"))
            gpu = torch.device("cuda")
            wall, again = fastest(lambda case=case, parts=there: refine(case, parts), 10, device=gpu)
            on_gpu = f"{wall:.4f}"
            failures += [f"{count} {outputs}: GPU differs"] if differ(again, expected) else []
        total = seconds + labelling
        numbers = f"{plain:.2f} | {total:.4f} | {labelling:.4f} | {plain / total:.0f} | {target}"
        print(f"| {count} | {outputs} | {numbers} | {on_gpu} |")
        if differ(found, expected):
            failures.append(f"{count} {outputs}: labels differ")
        if plain < target * total:
            failures.append(f"{count} {outputs}: only {plain / total:.0f} times faster")
    if failures:
        sys.exit("; ".join(failures))


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # The linear algebra library reads its thread count when it is loaded: start again with one thread.
        os.execve(sys.executable, sys.orig_argv, os.environ | {"OMP_NUM_THREADS": "1"})
    main()
