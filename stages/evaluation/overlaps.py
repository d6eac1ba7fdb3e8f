"""Exact overlaps between two sets of regions of an image, and between predicted and annotated instances."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances
from stages.ops import overlaps
from stages.ops.regions import Regions


@dataclass(frozen=True)
class Shared:
    """Pixels that regions of two sets have: `both` (N, M), `first` (N,) and `second` (M,), float64 whole numbers."""

    both: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union, (N, M) float64; 0 where both regions are empty."""
        return overlaps.iou(self.both, self.first, self.second)

    @property
    def share_of_first(self) -> np.ndarray:
        """|i and j| / |i|, (N, M) float64; 0 where region i is empty."""
        return overlaps.containment(self.both.T, self.first).T


def shared_pixels(first: Regions, second: Regions, *, counted: np.ndarray | None = None) -> Shared:
    """Pixels in each region of two sets and in each pair, without drawing a mask.

    The pixels K (A1, A2) that pairs of atoms share hold all that is asked: with memberships M1 (N, A1) and M2 (M, A2)
    the intersections are M1 K M2^T. Exact: float64 products of counts below 2^53.

    Args:
        first: N regions.
        second: M regions of the same image.
        counted: (A2,) bool, atoms of `second` whose pixels count; None: all.

    Raises:
        ValueError: the sets belong to images of different size.
    """
    if first.shape != second.shape:
        raise ValueError(f"masks of {_size(first)} and of {_size(second)} pixels cannot overlap; expected one size")
    common = overlaps.common_pixels(first.atoms, second.atoms)
    if counted is not None:
        common = common._replace(pixels=common.pixels * counted[common.second])
    return Shared(*common.of_regions(first.membership, second.membership))


def _size(regions: Regions) -> str:
    return "{}x{}".format(*regions.shape)


def counted_atoms(ground_truth: GroundTruth, void: Literal["background", "ignore"]) -> np.ndarray | None:
    """Which of the ground truth's atoms count, (A,) bool; None: all."""
    if void == "background" or not ground_truth.void.size:
        return None
    return ~np.unpackbits(ground_truth.void, count=int(ground_truth.atom_count)).astype(bool)


@dataclass(frozen=True)
class Overlaps:
    """How the D predictions of an image overlap its G annotated instances.

    Attributes:
        scores: (D,) float.
        classes: (D,) int.
        overlap: (D, G) float64: IoU; for crowds the share of the prediction that lies in the crowd (pycocotools).
        ground_truth_classes: (G,) int.
        crowd: (G,) bool.
        difficult: (G,) bool.
    """

    scores: np.ndarray
    classes: np.ndarray
    overlap: np.ndarray
    ground_truth_classes: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray


def shared_with_ground_truth(
    instances: Instances, ground_truth: GroundTruth, *, void: Literal["background", "ignore"]
) -> Shared:
    """Pixels that an image's predicted and annotated instances share; raises ValueError naming the image."""
    if not np.isfinite(instances.scores).all():
        raise ValueError(f"predictions of image {instances.image!r} hold scores that are not finite; remake them")
    try:
        return shared_pixels(instances.regions, ground_truth.regions, counted=counted_atoms(ground_truth, void))
    except ValueError as error:
        message = f"image {ground_truth.image!r}: predictions and ground truth do not fit: {error}"
        raise ValueError(f"{message}; remake both from the same images.h5") from error


def overlaps_with_ground_truth(
    instances: Instances, ground_truth: GroundTruth, *, void: Literal["background", "ignore"]
) -> Overlaps:
    """Overlaps of an image's predicted with its annotated instances; raises ValueError naming the image."""
    return overlaps_of(shared_with_ground_truth(instances, ground_truth, void=void), instances, ground_truth)


def overlaps_of(shared: Shared, instances: Instances, ground_truth: GroundTruth) -> Overlaps:
    """Overlaps of an image's predicted with its annotated instances, from the pixels that they share."""
    return Overlaps(
        scores=instances.scores,
        classes=instances.classes,
        overlap=np.where(ground_truth.crowd, shared.share_of_first, shared.iou),
        ground_truth_classes=ground_truth.classes,
        crowd=ground_truth.crowd,
        difficult=ground_truth.difficult,
    )
