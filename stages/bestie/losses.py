"""BESTIE's loss terms (equations 3 to 6).

The network predicts semantic probabilities S, center heatmaps C and offsets O; C^ and O^ are pseudo labels, C~ and O~
refined ones. P_pseudo and P_refined are the labelled pixels of a batch, those with a weight above 0; W are the weights
of refined labels (`refined_instances`), and those of pseudo labels are 1:

    L_center = 1 / |P_pseudo|  sum_{p in P_pseudo}        sum_k (C_k(p) - C^_k(p))^2
             + 1 / |P_refined| sum_{p in P_refined} W(p)  sum_k (C_k(p) - C~_k(p))^2                            (3)
    L_offset = 1 / |P_pseudo|  sum_{p in P_pseudo}        |O(p) - O^(p)|_1
             + 1 / |P_refined| sum_{p in P_refined} W(p)  |O(p) - O~(p)|_1                                      (4)
    L_sem    = -1 / |P| sum_{p in P} log S_y(p)    over all pixels P of the batch, y the pixel's label           (5)
    L        = lambda_center L_center + lambda_offset L_offset + lambda_sem L_sem    with 200, 0.01 and 1        (6)
"""

import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.network import Outputs
from stages.bestie.settings import BestieLossSettings
from stages.bestie.targets import Targets
from stages.core.artifacts.semantic_maps import UNCERTAIN


def weighted_losses(
    outputs: Outputs, labels: Tensor, *, pseudo: Targets, refined: Targets | None, point_supervision: Tensor | bool,
    negative: Tensor, settings: BestieLossSettings,
) -> dict[str, Tensor]:  # fmt: skip
    """All terms, each with its weight and share; their sum is L (equation 6).

    The terms are `semantic`, `center` and `offset` of the pseudo labels and, with refined labels, `refined_center` and
    `refined_offset`: the two sums of equations 3 and 4. With point supervision the refined labels have no centers of
    their own: their term is that of the pseudo labels (official code).
    Differs from the paper: each sum over pseudo labels is multiplied by `pseudo_share`, each over refined labels by
    `refined_share` (official code: 1/2 each); and there is `negative_center`, where the batch has images that are known
    to show no instance.

    Args:
        outputs: of the network.
        labels: (B, H, W) uint8 semantic maps.
        pseudo: pseudo labels.
        refined: refined labels; None before they begin or where they are off.
        point_supervision: (B,) bool, images whose pseudo labels come from points; or one for all.
        negative: (B,) bool, images that are known to show no instance.
        settings: see `BestieLossSettings`.
    """
    terms = {"semantic": settings.semantic * semantic_loss(outputs.semantic, labels, share=settings.hard_pixel_share)}
    labelled = {"": (pseudo, settings.pseudo_share)}
    if refined is not None:
        labelled["refined_"] = (refined, settings.refined_share)
    by_points = torch.as_tensor(point_supervision, device=labels.device).view(-1, 1, 1)
    for prefix, (targets, share) in labelled.items():
        weights = guided(targets.weights, guidance=settings.guidance)
        center_weights = torch.where(by_points, guided(pseudo.weights, guidance=settings.guidance), weights)
        center = center_loss(outputs.heatmap, targets.heatmap, center_weights)
        offset = offset_loss(outputs.offsets, targets.offsets, weights)
        terms[f"{prefix}center"] = settings.center * share * center
        terms[f"{prefix}offset"] = settings.offset * share * offset
    if negative.any():
        center = empty_center_loss(outputs.heatmap[negative], labels[negative])
        terms["negative_center"] = settings.center * settings.pseudo_share * center
    return terms


def guided(weights: Tensor, *, guidance: bool) -> Tensor:
    """Instance-aware guidance (section 3.4): weights (B, H, W) of the center and offset losses.

    Only the labelled pixels count, with their weights. Without guidance (ablation, table 3) all others count too, with
    weight 1; the targets have no center and no offset there.
    """
    return weights if guidance else torch.where(weights > 0, weights, 1.0)


def semantic_loss(logits: Tensor, labels: Tensor, *, share: float) -> Tensor:
    """Cross-entropy of the semantic map (equation 5), mean of the hardest pixels of the batch.

        -1 / |P| sum_{p in P} log S_y(p)    with S = softmax(logits) and y the label of pixel p

    Uncertain pixels count as 0; they are part of the number that `share` is of.
    Differs from the paper: with `share` below 1 only the hardest pixels count (official code).

    Args:
        logits: (B, C + 1, H, W).
        labels: (B, H, W) uint8, 255 uncertain.
        share: of the pixels, in (0, 1]; at least one counts.
    """
    each = functional.cross_entropy(logits.float(), labels.long(), ignore_index=UNCERTAIN, reduction="none").flatten()
    if share == 1:
        return each.mean()
    return each.topk(max(1, int(share * len(each))), sorted=False).values.mean()


def center_loss(heatmap: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Squared error of (B, C, H, W) center heatmaps, one of the two sums of equation 3; `weights` are (B, H, W).

    1 / |{p: W(p) > 0}| sum_p W(p) sum_k (C_k(p) - target_k(p))^2    over the classes k; 0 without such a pixel
    """
    return _per_pixel((heatmap.float() - target).square(), weights)


def empty_center_loss(heatmap: Tensor, labels: Tensor) -> Tensor:
    """Squared size of (B, C, H, W) center heatmaps of images without an instance, by their labels (B, H, W) uint8.

    1 / |{p: not uncertain}| sum_p sum_k C_k(p)^2. It is a term of its own: in the sum over pseudo labels the instances
    would count less, by the many pixels of such images.
    """
    return _per_pixel(heatmap.float().square(), (labels != UNCERTAIN).float())


def offset_loss(offsets: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Absolute error of (B, 2, H, W) offsets, one of the two sums of equation 4; `weights` are (B, H, W).

    1 / |{p: W(p) > 0}| sum_p W(p) |O(p) - target(p)|_1    0 without such a pixel
    """
    return _per_pixel((offsets.float() - target).abs(), weights)


def _per_pixel(errors: Tensor, weights: Tensor) -> Tensor:
    return (errors.sum(1) * weights).sum() / (weights > 0).sum().clamp(min=1)
