"""All loss terms of one image: mining, targets and weights put together (CIM equation 8)."""

import numpy as np
import torch
from torch import Tensor

from stages.cim.losses import Labels, bag_loss, cluster_loss, refinement_losses
from stages.cim.mining import Overlaps, mine, sample
from stages.cim.network import Scores
from stages.cim.settings import CimLossSettings, CimMiningSettings
from stages.cim.targets import Targets, assign


def weighted_losses(
    scores: Scores, *, tags: Tensor, labels: Labels | None, overlaps: Overlaps, generator: np.random.Generator,
    mining: CimMiningSettings, losses: CimLossSettings,
) -> dict[str, Tensor]:  # fmt: skip
    """The weighted terms of one image; their sum is what is minimised.

    Terms: `bag`, `cluster` (with labels), and for each refinement branch k = 1, 2, ... `classification_k`,
    `integrity_k` and `refinement_bag_k`. Terms of weight 0 are left out. A branch for which nothing was mined has
    terms of 0.
    """
    floor = losses.probability_floor
    terms = {"bag": losses.bag * bag_loss(scores.classifier, scores.detector, tags, floor=floor)}
    if labels is not None:
        terms["cluster"] = losses.cluster * cluster_loss(scores.classifier, labels, settings=losses)
    weights = {
        "classification": losses.classification, "integrity": losses.integrity, "refinement_bag": losses.refinement_bag
    }  # fmt: skip
    teachers = [(scores.classifier, scores.detector), *scores.refined[:-1]]
    for branch, (teacher, (classification, integrity)) in enumerate(zip(teachers, scores.refined, strict=True)):
        targets = branch_targets(
            teacher, tags=tags, overlaps=overlaps, generator=generator, settings=mining, branch=branch,
            factor=losses.first_branch if branch == 0 else 1.0,
        )  # fmt: skip
        if targets is None:
            # Not a number where a score is none, so that the training stops there.
            found = dict.fromkeys(weights, 0 * (classification + integrity).detach().sum())
        else:
            found = refinement_losses(classification, integrity, targets, tags, floor=floor)
        terms |= {f"{name}_{branch + 1}": weight * found[name] for name, weight in weights.items()}
    return {name: term for name, term in terms.items() if _weight_of(name, losses) > 0}


def branch_targets(
    teacher: tuple[Tensor, Tensor], *, tags: Tensor, overlaps: Overlaps, generator: np.random.Generator,
    settings: CimMiningSettings, branch: int, factor: float,
) -> Targets | None:  # fmt: skip
    """Targets of refinement branch `branch` (0, 1, ...) from the scores (N, C + 1) of the one before it.

    `factor` multiplies the weights. None where nothing was mined.
    """
    classification, integrity = (values.detach()[:, 1:] for values in teacher)
    if not torch.isfinite(classification * integrity).all():
        return None  # the training loop stops at the loss that is not finite, and names it
    pseudo_gt = mine(classification, integrity, tags=tags, overlaps=overlaps, settings=settings, branch=branch)
    if not len(pseudo_gt):
        return None
    if settings.sampling:
        pseudo_gt = sample(pseudo_gt, torch.from_numpy(generator.random(len(pseudo_gt))).to(pseudo_gt.weights.device))
    targets = assign(pseudo_gt, overlaps, class_count=len(tags), settings=settings, branch=branch)
    return Targets(targets.classes, targets.whole, factor * targets.weights)


def _weight_of(term: str, losses: CimLossSettings) -> float:
    return getattr(losses, term.rstrip("0123456789").rstrip("_"))
