"""Speed and exactness of the region algebra against the plain mask-by-mask definition, in one run on one core.

    python -m benchmarks.regions

The proposals are synthetic but shaped like real ones: superpixels of a 375 x 500 image, grown into 1000 connected
regions from a few pixels to most of the image. Exits with 1 where an answer differs or a target is missed.
"""

import argparse
import os
import sys
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.timing import fastest
from stages.ops.regions import Regions

HEIGHT, WIDTH = 375, 500
OVERLAP_TARGET = 0.15
SUPPORT_TARGET = 0.02
PEAKS = 20
SUPPORT_THRESHOLD = 0.7
# The plain definition takes minutes for all pairs; its loops run over this many rows and the time is scaled up.
PLAIN_ROWS = 10


@dataclass
class Line:
    """One line of the table: seconds of the algebra and of the plain definition, equality, and the target if any."""

    name: str
    seconds: float
    plain: float
    equal: bool
    target: float | None = None

    @property
    def passes(self) -> bool:
        return self.equal and (self.target is None or self.seconds < self.target)


def superpixels(count: int, generator: np.random.Generator, *, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """(H, W) label map of wavy cells around random centers."""
    ys, xs = np.indices(size, dtype=np.float32)
    ys, xs = ys + 6 * np.sin(xs / 17), xs + 6 * np.sin(ys / 13)
    best, labels = np.full(size, np.inf, np.float32), np.zeros(size, np.int32)
    for number, (y, x) in enumerate(generator.random((count, 2)) * size):
        distance = (ys - y) ** 2 + (xs - x) ** 2
        labels[distance < best] = number
        best = np.minimum(best, distance)
    return labels


def proposals(regions: int, cells: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Superpixel labels (H, W) and indicator (regions, cells): connected regions grown cell by cell."""
    labels = superpixels(cells, generator)
    near = np.zeros((cells, cells), bool)
    for ours, theirs in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        near[ours, theirs] = near[theirs, ours] = True
    indicator = np.zeros((regions, cells), bool)
    sizes = np.exp(generator.uniform(0, np.log(0.6 * cells), regions)).astype(int) + 1
    present = np.unique(labels)
    for row, size in zip(indicator, sizes, strict=True):
        row[generator.choice(present)] = True
        for _ in range(size - 1):
            border = np.flatnonzero(near[row].any(0) & ~row)
            if len(border):
                row[generator.choice(border)] = True
    return labels, indicator


def plain_rows(masks: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The definition, pair by pair: IoU and containment (rows, N) float32."""
    iou, containment = np.zeros((2, len(rows), len(masks)), np.float32)
    for line, row in enumerate(rows):
        for column, mask in enumerate(masks):
            common = (masks[row] & mask).sum()
            iou[line, column] = common / (masks[row] | mask).sum()
            containment[line, column] = common / mask.sum()
    return iou, containment


def counted(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The definition for all pairs by counting common bits of bitmaps, without atoms or products."""
    bits = np.packbits(masks.reshape(len(masks), -1), axis=1)
    bits = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8))).view(np.uint64)
    common = np.stack([np.bitwise_count(bits & row).sum(1, dtype=np.int64) for row in bits])
    areas = common.diagonal()
    return (common / (areas[:, None] + areas - common)).astype(np.float32), (common / areas).astype(np.float32)


def plain_support(masks: np.ndarray, points: np.ndarray) -> np.ndarray:
    """AGPL mask by mask: IoU (points, N) of every proposal with the thresholded mean of those that hold the point."""
    iou = np.zeros((len(points), len(masks)), np.float32)
    for line, (y, x) in enumerate(points):
        holding = masks[masks[:, y, x]]
        support = holding.mean(0) > SUPPORT_THRESHOLD if len(holding) else np.zeros(masks.shape[1:], bool)
        for column, mask in enumerate(masks):
            iou[line, column] = (support & mask).sum() / (support | mask).sum()
    return iou


def lines(regions: Regions, points: np.ndarray) -> list[Line]:
    masks = regions.masks()
    rows = np.linspace(0, len(masks) - 1, PLAIN_ROWS).astype(int)
    loops, (iou_rows, containment_rows) = fastest(lambda: plain_rows(masks, rows), 1)
    loops *= len(masks) / len(rows)
    iou, containment = counted(masks)
    support_loops, support = fastest(lambda: plain_support(masks, points), 1)

    def equal(found: tuple[np.ndarray, np.ndarray]) -> bool:
        whole = np.array_equal(found[0], iou) and np.array_equal(found[1], containment)
        return whole and np.array_equal(found[0][rows], iou_rows) and np.array_equal(found[1][rows], containment_rows)

    table, tensors, places = [], regions.to("cpu"), torch.from_numpy(points)
    for name, call in (
        ("overlaps, one product, NumPy", regions.overlaps),
        ("iou, then containment, NumPy", lambda: (regions.iou(), regions.containment())),
        ("overlaps, one product, torch", lambda: tuple(part.numpy() for part in tensors.overlaps())),
    ):
        seconds, found = fastest(call)
        table.append(Line(name, seconds, loops, equal(found), OVERLAP_TARGET))
    for name, ours, spots in (("NumPy", regions, points), ("torch", tensors, places)):
        seconds, found = fastest(lambda r=ours, p=spots: r.mean_support(r.holding(p), SUPPORT_THRESHOLD).iou(r))
        table.append(
            Line(
                f"AGPL support, {PEAKS} peaks, {name}",
                seconds,
                support_loops,
                np.array_equal(found, support),
                SUPPORT_TARGET,
            )
        )
    seconds, found = fastest(lambda: Regions.from_masks(masks), 2)
    table.append(Line("from_masks", seconds, np.nan, np.array_equal(found.membership, regions.membership)))
    table.append(Line("masks", *fastest(regions.masks, 2)[:1], np.nan, True))
    for name in ("boxes", "crops", "packed", "flip"):
        table.append(Line(name, fastest(getattr(regions, name))[0], np.nan, True))
    return table


def main() -> None:
    """Measure, print the table, and exit with 1 where a line fails."""
    parser = argparse.ArgumentParser(description="Speed and exactness of the region algebra on one core.")
    parser.add_argument("--regions", type=int, default=1000)
    parser.add_argument("--superpixels", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(arguments.seed)
    regions = Regions.from_superpixels(*proposals(arguments.regions, arguments.superpixels, generator))
    points = np.stack([generator.integers(0, side, PEAKS) for side in regions.shape], 1)
    table = lines(regions, points)
    print(f"{len(regions)} regions, {len(regions.sizes)} atoms, {HEIGHT} x {WIDTH} pixels, one core\n")
    print(f"{'operation':<34}{'seconds':>10}{'plain':>10}{'target':>8}  equal")
    for line in table:
        plain = "" if np.isnan(line.plain) else f"{line.plain:.1f}"
        target = "" if line.target is None else f"{line.target}"
        print(f"{line.name:<34}{line.seconds:>10.4f}{plain:>10}{target:>8}  {'yes' if line.equal else 'NO'}")
    failed = [line.name for line in table if not line.passes]
    print(f"\nplain: mask by mask; {PLAIN_ROWS} rows of overlaps were timed and scaled, all pairs compared by bits")
    if failed:
        sys.exit(f"missed: {'; '.join(failed)}")


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # The linear algebra library reads its thread count when it is loaded: start again with one thread.
        os.execve(sys.executable, sys.orig_argv, os.environ | {"OMP_NUM_THREADS": "1"})
    main()
