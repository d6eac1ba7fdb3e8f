"""All loss terms of one image: mining, targets and weights put together (CIM equation 8, written out in losses.py)."""

import numpy as np
import torch
from torch import Tensor

from stages.cim.columns import without_background
from stages.cim.losses import Labels, cluster_loss, mil_loss, refinement_losses
from stages.cim.mining import Overlaps, anti_noise_sample, mine
from stages.cim.network import Scores
from stages.cim.settings import CimTrainingSettings
from stages.cim.targets import Targets, all_background, assign


def weighted_losses(
    scores: Scores,
    *,
    tags: Tensor,
    labels: Labels | None,
    overlaps: Overlaps,
    generator: np.random.Generator,
    settings: CimTrainingSettings,
) -> dict[str, Tensor]:
    """The weighted terms of one image; their sum is what is minimised.

    Terms: `mil`, `cluster` (with labels), and for each refinement branch k = 1, 2, ... `classification_k`,
    `integrity_k` and `refinement_mil_k`. Terms of weight 0 are left out. A branch for which nothing was mined has
    terms of 0.
    """
    losses = settings.losses
    floor = losses.probability_floor
    terms = {"mil": (losses.mil, mil_loss(scores.classifier, scores.detector, tags, floor=floor))}
    if labels is not None:
        terms["cluster"] = (losses.cluster, cluster_loss(scores.classifier, labels, settings=losses))
    weights = {
        "classification": losses.classification,
        "integrity": losses.integrity,
        "refinement_mil": losses.refinement_mil,
    }
    teachers = [(scores.classifier, scores.detector), *scores.refined[:-1]]
    for branch, (teacher, (classification, integrity)) in enumerate(zip(teachers, scores.refined, strict=True)):
        targets = branch_targets(
            teacher, tags=tags, overlaps=overlaps, generator=generator, settings=settings, branch=branch
        )
        if targets is None:
            # Not a number where a score is none, so that the training stops there.
            unweighted = dict.fromkeys(weights, 0 * (classification + integrity).detach().sum())
        else:
            unweighted = refinement_losses(classification, integrity, targets, tags, floor=floor)
        terms |= {f"{name}_{branch + 1}": (weight, unweighted[name]) for name, weight in weights.items()}
    return {name: weight * term for name, (weight, term) in terms.items() if weight > 0}


def branch_targets(
    teacher: tuple[Tensor, Tensor],
    *,
    tags: Tensor,
    overlaps: Overlaps,
    generator: np.random.Generator,
    settings: CimTrainingSettings,
    branch: int,
) -> Targets | None:
    """Targets of refinement branch `branch` (0, 1, ...) from the scores (N, C + 1) of the one before it.

    None where nothing was mined. In an image that shows none of the classes every proposal is background.
    Differs from the paper: the weights of the first branch are multiplied by `losses.first_branch` (official code), and
    images without a class are not left out.
    """
    mining = settings.mining
    classification, integrity = (without_background(values.detach()) for values in teacher)
    if not torch.isfinite(classification * integrity).all():
        return None  # the training loop stops at the loss that is not finite, and names it
    factor = settings.losses.first_branch if branch == 0 else 1.0
    if not tags.any():
        return all_background(classification, weight=factor)
    pseudo_gt = mine(classification, integrity, tags=tags, overlaps=overlaps, settings=mining, branch=branch)
    if not len(pseudo_gt):
        return None
    if mining.sampling:
        uniforms = torch.from_numpy(generator.random(len(pseudo_gt)))
        pseudo_gt = anti_noise_sample(pseudo_gt, uniforms.to(pseudo_gt.weights.device))
    targets = assign(pseudo_gt, overlaps, class_count=len(tags), settings=mining, branch=branch)
    return Targets(targets.classes, targets.integrity_target, factor * targets.weights)
