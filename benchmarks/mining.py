"""Time of AGPL's assignment and of CIM's mining and losses on one core: all that a pass costs besides the network.

    python -m benchmarks.mining

The proposals are those of `benchmarks.regions`: 375 x 500 pixels, from a few pixels to most of the image. Exits with
1 where a target is missed.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.regions import proposals
from benchmarks.timing import CPU, fastest
from stages.cim.agpl import assign_clusters
from stages.cim.losses import Labels
from stages.cim.mining import Overlaps
from stages.cim.network import Scores
from stages.cim.objective import weighted_losses
from stages.cim.settings import CimSettings
from stages.ops.regions import Regions
from stages.project.project import load_files

CONFIG = Path(__file__).parents[1] / "config.yaml"
ASSIGNMENT_TARGET, MINING_TARGET = 0.02, 0.05  # seconds per image
PEAKS, CLASSES, PRESENT, BRANCHES = 20, 20, 2, 3


def smooth_scores(regions: Regions, generator: np.random.Generator) -> Scores:
    """Scores that peak around a few regions, as trained ones do, with gradient."""
    near = torch.from_numpy(regions.iou())
    bumps = near[:, generator.integers(0, len(regions), 4 * CLASSES)].unflatten(1, (CLASSES, 4)).amax(2)
    logits = torch.cat([torch.full((len(regions), 1), 1.0), 4 * bumps], dim=1)
    layers = [logits.clone().requires_grad_() for _ in range(2 + 2 * BRANCHES)]
    refined = [(layers[2 + k].softmax(1), layers[2 + BRANCHES + k].sigmoid()) for k in range(BRANCHES)]
    return Scores(layers[0].softmax(1), layers[1].softmax(0), refined)


def case(
    count: int, cells: int, cim: CimSettings, *, device: torch.device = CPU
) -> tuple[Regions, Callable[[], Any], Callable[[], dict[str, Tensor]]]:
    """Regions of one image, AGPL's assignment on the CPU, and overlaps, mining, targets and losses on `device`."""
    generator = np.random.default_rng(0)
    regions = Regions.from_superpixels(*proposals(count, cells, generator))
    points = np.stack([generator.integers(0, side, PEAKS) for side in regions.shape], 1)
    classes = generator.integers(0, PRESENT, PEAKS)

    def assign() -> Any:
        return assign_clusters(regions, regions.holding(points), classes, tagged=True, settings=cim.agpl)

    labels = Labels(*(torch.from_numpy(part.astype(np.int64)).to(device) for part in assign()))
    membership, sizes = (torch.from_numpy(part).to(device) for part in (regions.membership, regions.sizes))
    scores = smooth_scores(regions, generator)
    scores = Scores(
        scores.classifier.to(device),
        scores.detector.to(device),
        [(first.to(device), second.to(device)) for first, second in scores.refined],
    )
    tags = (torch.arange(CLASSES) < PRESENT).to(device)

    def mine() -> dict[str, Tensor]:
        overlaps = Overlaps(membership, sizes, half_precision=cim.train.mining.half_precision_maps)
        return weighted_losses(
            scores,
            tags=tags,
            labels=labels,
            overlaps=overlaps,
            generator=np.random.default_rng(0),
            settings=cim.train,
        )

    return regions, assign, mine


def measure(count: int, cells: int, cim: CimSettings) -> tuple[int, float, float]:
    """Atoms, seconds of AGPL's assignment, and seconds of overlaps, mining, targets and losses of one image."""
    regions, assign, mine = case(count, cells, cim)
    return len(regions.sizes), fastest(assign)[0], fastest(mine)[0]


def main() -> None:
    """Measure, print a markdown table, and exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description="Speed of AGPL and of mining.")
    parser.add_argument("--config", type=Path, default=CONFIG)
    cim = load_files(parser.parse_args().config).runs["cim"].settings
    torch.set_num_threads(1)
    print(
        f"one core, {PEAKS} peaks, {PRESENT} of {CLASSES} classes, targets {ASSIGNMENT_TARGET} and {MINING_TARGET} s\n"
    )
    print("| proposals | atoms | AGPL assignment, s | overlaps, mining and losses, s |\n|---|---|---|---|")
    missed = False
    for count, cells in ((400, 500), (1000, 500)):
        atoms, labelling, mining = measure(count, cells, cim)
        print(f"| {count} | {atoms} | {labelling:.4f} | {mining:.4f} |")
        missed |= labelling > ASSIGNMENT_TARGET or mining > MINING_TARGET
    if missed:
        sys.exit("a target is missed")


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # The linear algebra library reads its thread count when it is loaded: start again with one thread.
        os.execve(sys.executable, sys.orig_argv, os.environ | {"OMP_NUM_THREADS": "1"})
    main()
