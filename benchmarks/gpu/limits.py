"""Regions, mining and refinement on a device, against the limits of the benchmarks that time them on a core."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import mining, refinement
from benchmarks import regions as algebra
from benchmarks.gpu.results import Part
from benchmarks.gpu.trainers import project_of
from benchmarks.timing import fastest
from stages.bestie.network import Outputs
from stages.bestie.refinement import refined_targets
from stages.bestie.settings import RefinementSettings
from stages.ops.regions import Regions
from tests.bestie import reference

CLOSE = 1e-5  # losses are sums of float32, whose order differs between devices


def run(part: Part, *, device: torch.device, quick: bool) -> None:
    """Time each on the device, and compare its answer with that of the CPU."""
    regions(part, device, count=60 if quick else 1000, cells=40 if quick else 500)
    for count, cells in ((60, 40),) if quick else ((400, 500), (1000, 500)):
        losses(part, device, count=count, cells=cells)
    for count, outputs, times in refinement.CASES[:1] if quick else sorted(refinement.CASES):
        labels(part, device, count=count, outputs=outputs, times=times)


def regions(part: Part, device: torch.device, *, count: int, cells: int) -> None:
    generator = np.random.default_rng(0)
    here = Regions.from_superpixels(*algebra.proposals(count, cells, generator))
    points = np.stack([generator.integers(0, side, algebra.PEAKS) for side in here.shape], 1)
    there, places = here.to(device), torch.from_numpy(points).to(device)

    def support(regions: Any, points: Any) -> Any:
        return regions.mean_support(regions.holding(points), algebra.SUPPORT_THRESHOLD).iou(regions)

    cases: list[tuple[str, Callable[[], Any], Any, float]] = [
        ("overlaps", there.overlaps, here.overlaps(), algebra.OVERLAP_TARGET),
        ("AGPL support", lambda: support(there, places), support(here, points), algebra.SUPPORT_TARGET),
    ]
    for name, call, expected, limit in cases:
        seconds, found = fastest(call, device=device)
        expected, found = (answer if isinstance(answer, tuple) else (answer,) for answer in (expected, found))
        same = all(np.array_equal(one.cpu().numpy(), other) for one, other in zip(found, expected, strict=True))
        part.add(
            what=f"{name}, {count} regions", seconds=seconds, limit=limit, same=same, held=same and seconds < limit
        )


def losses(part: Part, device: torch.device, *, count: int, cells: int) -> None:
    cim = project_of(()).runs["cim"].settings
    mine = mining.case(count, cells, cim)[2]
    expected = mine()
    seconds, found = fastest(mining.case(count, cells, cim, device=device)[2], device=device)
    same = found.keys() == expected.keys() and all(
        torch.allclose(found[name].cpu(), expected[name], rtol=CLOSE, atol=CLOSE) for name in expected
    )
    limit = mining.MINING_TARGET
    part.add(
        what=f"mining and losses, {count} regions", seconds=seconds, limit=limit, same=same,
        held=same and seconds <= limit,
    )  # fmt: skip


def labels(part: Part, device: torch.device, *, count: int, outputs: str, times: int) -> None:
    """The limit is a share of what plain code takes on a core in the same run."""
    settings = RefinementSettings.model_validate(refinement.OFFICIAL)
    case = refinement.Case(count, outputs=outputs)
    components = case.components(settings)
    plain = functools.partial(
        reference.refine, *case.outputs, case.labels, case.tags, sigma=refinement.SIGMA, settings=settings
    )
    plain_seconds, expected = fastest(plain, 1)
    there = Outputs(*(part.to(device) for part in case.outputs)), components.to(device)
    refine = functools.partial(refined_targets, *there, sigma=refinement.SIGMA, settings=settings)
    seconds, found = fastest(refine, 5, device=device)
    same, limit = not refinement.differ(found, expected), plain_seconds / times
    part.add(
        what=f"refinement, {count} components, {outputs}", seconds=seconds, limit=limit, same=same,
        held=same and seconds <= limit,
    )  # fmt: skip
