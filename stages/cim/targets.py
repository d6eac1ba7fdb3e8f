"""What every proposal learns from the pseudo ground truth (CIM equations 4 to 6)."""

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
        whole: (N, C) bool, wanted integrity; matters where the class is wanted.
        weights: (N,) float32, weight of the proposal in the losses; 0 where ignored.
    """

    classes: Tensor
    whole: Tensor
    weights: Tensor


@torch.no_grad()
def assign(
    pseudo_gt: PseudoGroundTruth, overlaps: Overlaps, *, class_count: int, settings: CimMiningSettings, branch: int
) -> Targets:
    """Targets from the IoU of each proposal with the pseudo ground truth, which must not be empty.

    The weight is that of the nearest pseudo ground truth (equation 6; the first of equally near ones). Proposals that
    overlap none are ignored, those that overlap below tau_cls are background.
    Differs from the paper: with `one_class` a proposal has the class of its nearest pseudo ground truth alone.
    """
    every = torch.arange(len(overlaps), device=pseudo_gt.indices.device)
    overlap = overlaps.iou(every, pseudo_gt.indices)
    best, nearest = overlap.max(dim=1)
    if settings.one_class:
        by_class = torch.zeros(len(best), class_count, device=best.device)
        by_class.scatter_(1, pseudo_gt.classes[nearest][:, None], best[:, None])
    else:
        by_class = torch.zeros(len(best), class_count, device=best.device)
        by_class.scatter_reduce_(1, pseudo_gt.classes.expand_as(overlap), overlap, "amax")
    cascade = branch * settings.cascade_step
    tau_class = overlaps.threshold(settings.class_threshold + cascade)
    foreground = by_class >= tau_class if settings.foreground_at_threshold else by_class > tau_class
    foreground &= by_class > 0
    background = (best > 0) & ~foreground.any(1)
    return Targets(
        classes=torch.cat([background[:, None], foreground], dim=1),
        whole=by_class > overlaps.threshold(settings.integrity_threshold + cascade),
        weights=torch.where(best > 0, pseudo_gt.weights[nearest], 0.0),
    )
