"""What every proposal learns from the pseudo ground truth (CIM equations 4 to 6).

For refinement branch k = 1, 2, ..., proposal R_i and the pseudo ground truth P_c of class c:

    y_{i,c} = 1    if max_{g in P_c} IoU(R_i, g) > tau_cls + (k - 1) tau_cas, else 0    class target         (4)
    t_{i,c} = 1    if max_{g in P_c} IoU(R_i, g) > tau_iou + (k - 1) tau_cas, else 0    integrity target     (5)
    w_i     = y^{k-1}_{j,c} t^{k-1}_{j,c}    of the pseudo ground truth j, of class c, nearest to R_i        (6)

y^{k-1} and t^{k-1} are the class and integrity scores of the branch before.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.cim.mining import Overlaps, PseudoGroundTruth
from stages.cim.settings import CimMiningSettings


@dataclass(frozen=True)
class Targets:
    """Refined pseudo labels of N proposals.

    Attributes:
        classes: (N, C + 1) bool, background in column 0; a row without any is ignored.
        integrity_target: (N, C) bool; counts where the class is a target.
        weights: (N,) float32, weight of the proposal in the losses; 0 where ignored.
    """

    classes: Tensor
    integrity_target: Tensor
    weights: Tensor


@torch.no_grad()
def assign(
    pseudo_gt: PseudoGroundTruth, overlaps: Overlaps, *, class_count: int, settings: CimMiningSettings, branch: int
) -> Targets:
    """Targets from the IoU of each proposal with the pseudo ground truth, which must not be empty.

    The weight is that of the pseudo ground truth with the largest IoU (equation 6), of equal ones the first. Proposals
    that overlap none are ignored, those whose IoU is below tau_cls for all classes are background.
    Differs from the paper: with `one_class` a proposal has only the class of its nearest pseudo ground truth, in place
    of equations 4 and 5 for each class; with `foreground_at_threshold` an IoU of exactly tau_cls makes a class target
    (official code).

    Args:
        pseudo_gt: G of them.
        overlaps: of the N proposals.
        class_count: C.
        settings: see `CimMiningSettings`.
        branch: 0 for the first one, k = branch + 1.
    """
    every = torch.arange(len(overlaps), device=pseudo_gt.indices.device)
    overlap = overlaps.iou(every, pseudo_gt.indices)  # (N, G)
    best, nearest = overlap.max(dim=1)  # (N,)
    by_class = torch.zeros(len(best), class_count, device=best.device)  # (N, C) largest IoU
    if settings.one_class:
        by_class.scatter_(1, pseudo_gt.classes[nearest][:, None], best[:, None])
    else:
        by_class.scatter_reduce_(1, pseudo_gt.classes.expand_as(overlap), overlap, "amax")
    cascade = branch * settings.cascade_step
    tau_class = overlaps.threshold(settings.class_threshold + cascade)
    foreground = by_class >= tau_class if settings.foreground_at_threshold else by_class > tau_class
    foreground &= by_class > 0
    background = (best > 0) & ~foreground.any(1)
    return Targets(
        classes=torch.cat([background[:, None], foreground], dim=1),  # background is column 0
        integrity_target=by_class > overlaps.threshold(settings.integrity_threshold + cascade),
        weights=torch.where(best > 0, pseudo_gt.weights[nearest], 0.0),
    )


def all_background(scores: Tensor, *, weight: float) -> Targets:
    """Targets of the proposals of an image that is known to show none of the classes: background, all of one weight.

    That none of them is an instance is certain, so the weight does not follow the branch before. `scores` (N, C) say
    how many there are, and where.
    """
    count, class_count = scores.shape
    classes = torch.zeros(count, 1 + class_count, dtype=torch.bool, device=scores.device)
    classes[:, 0] = True
    return Targets(classes, torch.zeros_like(scores, dtype=torch.bool), scores.new_full((count,), weight))
