"""CIM's loss terms (equations 3, 7 and 8), on probabilities. Classes have background in column 0."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stages.cim.settings import CimLossSettings
from stages.cim.targets import Targets


@dataclass(frozen=True)
class Labels:
    """Pre-computed pseudo labels: `clusters` (N,) int64, 0 where ignored; `classes` (N,) int64, -1 for background."""

    clusters: Tensor
    classes: Tensor


def bag_loss(classifier: Tensor, detector: Tensor, tags: Tensor, *, floor: float) -> Tensor:
    """Image-level cross-entropy of the anti-noise branch (equation 7, first term; WSDDN).

    `classifier` and `detector` (N, C + 1): softmax over classes and over proposals. `tags` (C,) bool; every image
    has background.
    """
    return _cross_entropy((classifier * detector).sum(0), _present(tags), floor).mean()


def cluster_loss(classifier: Tensor, labels: Labels, *, settings: CimLossSettings) -> Tensor:
    """Cross-entropy of each cluster's mean probability with its class, weighted by its size (equation 7, second term).

    Each background proposal is a cluster of its own; ignored ones are left out; without any labelled the loss is 0.
    Differs from the paper: `full_bce` also asks the other classes to be absent and averages (official code).
    """
    labelled = labels.clusters > 0
    rows, classes = classifier[labelled], labels.classes[labelled]
    single = labels.clusters.max() + 1 + torch.arange(len(rows), device=rows.device)
    ids = torch.where(classes >= 0, labels.clusters[labelled], single)
    _, cluster = ids.unique(return_inverse=True)
    count = len(rows)
    sizes = rows.new_zeros(count).index_add(0, cluster, rows.new_ones(count))
    means = rows.new_zeros(rows.shape).index_add(0, cluster, rows) / sizes.clamp(min=1)[:, None]
    own = cluster.new_zeros(count).scatter(0, cluster, classes + 1)
    if settings.cluster_form == "full_bce":
        target = functional.one_hot(own, classifier.shape[1]).to(rows)
        each = _cross_entropy(means, target, settings.probability_floor).mean(1)
    else:
        each = -means.gather(1, own[:, None])[:, 0].clamp(settings.probability_floor, 1).log()
    return (sizes * each).sum() / max(count, 1)


def refinement_losses(
    classification: Tensor, integrity: Tensor, targets: Targets, tags: Tensor, *, floor: float
) -> dict[str, Tensor]:
    """The terms `classification`, `integrity` (equation 3) and `refinement_bag` of one branch, unweighted.

    Both scores are (N, C + 1). `refinement_bag` is in the official code alone: each present class's best product among
    the proposals labelled with it, each absent class's best of all, as image-level cross-entropy.
    """
    weights, wanted = targets.weights, targets.classes
    foreground = wanted[:, 1:]
    taken = wanted.any(1).sum().clamp(min=1)
    log = _clamped(classification, floor).log()
    by_class = -(weights * (wanted * log).sum(1)).sum() / taken
    error = functional.smooth_l1_loss(integrity[:, 1:], targets.whole.to(integrity), reduction="none")
    by_integrity = (weights * (foreground * error).sum(1)).sum() / foreground.any(1).sum().clamp(min=1)
    return {
        "classification": by_class,
        "integrity": by_integrity,
        "refinement_bag": _refinement_bag(classification * integrity, targets, _present(tags), floor),
    }


def _refinement_bag(products: Tensor, targets: Targets, present: Tensor, floor: float) -> Tensor:
    """A present class without a labelled proposal counts as 0 with the first proposal's weight (official code)."""
    labelled = torch.where(targets.classes | (present == 0), products, 0.0)
    best = labelled.max(dim=0)
    weights = torch.where(present == 1, targets.weights[best.indices], 1.0)
    return (_cross_entropy(best.values, present, floor) * weights).mean()


def _present(tags: Tensor) -> Tensor:
    """(C + 1,) float32: 1 for background and for each tagged class."""
    return torch.cat([tags.new_ones(1), tags]).float()


def _cross_entropy(probabilities: Tensor, target: Tensor, floor: float) -> Tensor:
    clamped = _clamped(probabilities, floor)
    return -(target * clamped.log() + (1 - target) * (1 - clamped).log())


def _clamped(probabilities: Tensor, floor: float) -> Tensor:
    return probabilities.clamp(floor, 1 - floor)
