"""CIM's loss terms (equations 3, 7 and 8), on probabilities. Classes have background in column 0.

N proposals, C classes, c = 0 background; Y_c is the image's tag, Y_0 = 1. Anti-noise branch, with class scores y^0
(softmax over classes), detection scores t^0 (softmax over proposals), and clusters of M_i proposals C_i of class s_i:

    y^I_c  = sum_n y^0_{n,c} t^0_{n,c}    image-level score
    L_anti = -1 / (C + 1) sum_c [ Y_c log y^I_c + (1 - Y_c) log(1 - y^I_c) ]
             - alpha / (N_fg + N_bg) sum_i sum_c M_i s_{i,c} log( sum_{n in C_i} y^0_{n,c} / M_i )            (7)

Refinement branch k, with class scores y and integrity scores t of proposals, their targets y^, t^ and weights w of
targets.py:

    L_ref  = -1 / (N_fg + N_bg) sum_n sum_{c >= 0} w_n y^_{n,c} log y_{n,c}
             + 1 / N_fg         sum_n sum_{c >= 1} w_n y^_{n,c} smoothL1(t^_{n,c} - t_{n,c})                  (3)

    L      = L_anti + sum_k L_ref^k                                                                           (8)

N_fg and N_bg are the numbers of proposals that are labelled with a class and with background.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stages.cim.columns import column_of, without_background
from stages.cim.settings import CimLossSettings
from stages.cim.targets import Targets
from stages.core.networks.mil import cross_entropy, image_level_loss


@dataclass(frozen=True)
class Labels:
    """Pre-computed pseudo labels: `clusters` (N,) int64, 0 where ignored; `classes` (N,) int64, -1 for background."""

    clusters: Tensor
    classes: Tensor


def mil_loss(classifier: Tensor, detector: Tensor, tags: Tensor, *, floor: float) -> Tensor:
    """Image-level (MIL) cross-entropy of the anti-noise branch (equation 7, first term; WSDDN).

    `classifier` and `detector` (N, C + 1): softmax over classes and over proposals. `tags` (C,) bool; every image
    has background.
    """
    return image_level_loss(classifier, detector, _present(tags), floor=floor)


def cluster_loss(classifier: Tensor, labels: Labels, *, settings: CimLossSettings) -> Tensor:
    """Cross-entropy of each cluster's mean probability with its class (equation 7, second term, without alpha; PCL).

        1 / L sum_i M_i H_i,    H_i = -log m_{i,s_i},    m_i = 1 / M_i sum_{n in C_i} y^0_n

    L is the number of labelled proposals, m_i the mean probabilities of cluster i and s_i its class. Each background
    proposal is a cluster of its own; ignored ones are left out; without any labelled the loss is 0.
    Differs from the paper: with `full_bce` H_i also asks the other classes to be absent and is the mean over the C + 1
    columns of -log m_{i,s_i} and -log(1 - m_{i,c}), c != s_i (official code).
    """
    # L labelled proposals, at most L clusters (rows from the number of clusters on stay empty and have size 0)
    labelled = (labels.clusters > 0).nonzero()[:, 0]  # (L,)
    probabilities, classes = classifier[labelled], labels.classes[labelled]  # (L, C + 1), (L,)
    count, device = len(probabilities), probabilities.device
    own_cluster = labels.clusters.max() + 1 + torch.arange(count, device=device)  # an id for each background proposal
    _, cluster = torch.where(classes >= 0, labels.clusters[labelled], own_cluster).unique(return_inverse=True)  # (L,)
    sizes = probabilities.new_zeros(count).index_add(0, cluster, probabilities.new_ones(count))  # (L,) M_i
    sums = probabilities.new_zeros(probabilities.shape).index_add(0, cluster, probabilities)
    means = sums / sizes.clamp(min=1)[:, None]  # (L, C + 1) m_i
    column = cluster.new_zeros(count).scatter(0, cluster, column_of(classes))  # (L,) s_i
    if settings.cluster_form == "full_bce":
        target = functional.one_hot(column, classifier.shape[1]).to(probabilities)
        entropy = cross_entropy(means, target, settings.probability_floor).mean(1)  # (L,) H_i
    else:
        entropy = -means.gather(1, column[:, None])[:, 0].clamp(settings.probability_floor, 1).log()
    return (sizes * entropy).sum() / max(count, 1)


def refinement_losses(
    classification: Tensor, integrity: Tensor, targets: Targets, tags: Tensor, *, floor: float
) -> dict[str, Tensor]:
    """The terms `classification`, `integrity` (equation 3) and `refinement_mil` of one branch, unweighted.

    Both scores are (N, C + 1).
    Differs from the paper: `refinement_mil` is an image-level (MIL) loss that the official code alone has. With
    p_n = y_n t_n and, for each c, b the proposal of highest p among those labelled with c where Y_c = 1, among all
    where Y_c = 0:

        1 / (C + 1) sum_c a_c [ -Y_c log p_{b,c} - (1 - Y_c) log(1 - p_{b,c}) ],    a_c = w_b if Y_c = 1 else 1
    """
    weights, class_target = targets.weights, targets.classes  # (N,), (N, C + 1)
    foreground = without_background(class_target)  # (N, C)
    labelled_count = class_target.any(1).sum().clamp(min=1)  # N_fg + N_bg
    log = _clamped(classification, floor).log()
    by_class = -(weights * (class_target * log).sum(1)).sum() / labelled_count
    integrity_target = targets.integrity_target.to(integrity)
    error = functional.smooth_l1_loss(without_background(integrity), integrity_target, reduction="none")
    by_integrity = (weights * (foreground * error).sum(1)).sum() / foreground.any(1).sum().clamp(min=1)
    return {
        "classification": by_class,
        "integrity": by_integrity,
        "refinement_mil": _refinement_mil(classification * integrity, targets, _present(tags), floor),
    }


def _refinement_mil(products: Tensor, targets: Targets, present: Tensor, floor: float) -> Tensor:
    """A present class without a labelled proposal counts as 0 with the first proposal's weight (official code)."""
    labelled = torch.where(targets.classes | (present == 0), products, 0.0)
    best = labelled.max(dim=0)
    weights = torch.where(present == 1, targets.weights[best.indices], 1.0)
    return (cross_entropy(best.values, present, floor) * weights).mean()


def _present(tags: Tensor) -> Tensor:
    """(C + 1,) float32: 1 for background and for each tagged class."""
    return torch.cat([tags.new_ones(1), tags]).float()


def _clamped(probabilities: Tensor, floor: float) -> Tensor:
    return probabilities.clamp(floor, 1 - floor)
