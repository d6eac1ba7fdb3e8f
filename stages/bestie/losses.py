"""BESTIE's loss terms (equations 3 to 6)."""

import torch
from torch import Tensor
from torch.nn import functional

from stages.bestie.network import Outputs
from stages.bestie.settings import BestieLossSettings
from stages.bestie.targets import Targets
from stages.core.artifacts.semantic_maps import UNCERTAIN


def weighted_losses(
    outputs: Outputs, labels: Tensor, *, pseudo: Targets, refined: Targets | None, point_supervision: bool,
    settings: BestieLossSettings,
) -> dict[str, Tensor]:  # fmt: skip
    """All terms, each with its weight and share; their sum is equation 6.

    The terms are `semantic`, `center` and `offset` of the pseudo labels and, with refined labels, `refined_center` and
    `refined_offset`. With point supervision the refined labels have no centers of their own: their term is that of the
    pseudo labels (official code).

    Args:
        outputs: of the network.
        labels: (B, H, W) uint8 semantic maps.
        pseudo: pseudo labels.
        refined: refined labels; None before they begin or where they are off.
        point_supervision: whether the pseudo labels come from points.
        settings: see `BestieLossSettings`.
    """
    terms = {"semantic": settings.semantic * semantic_loss(outputs.semantic, labels, share=settings.hard_pixel_share)}
    given = {"": (pseudo, settings.pseudo_share)}
    if refined is not None:
        given["refined_"] = (refined, settings.refined_share)
    for prefix, (targets, share) in given.items():
        weights = guided(targets.weights, guidance=settings.guidance)
        center_weights = guided(pseudo.weights, guidance=settings.guidance) if point_supervision else weights
        center = center_loss(outputs.centers, targets.centers, center_weights)
        offset = offset_loss(outputs.offsets, targets.offsets, weights)
        terms[f"{prefix}center"] = settings.center * share * center
        terms[f"{prefix}offset"] = settings.offset * share * offset
    return terms


def guided(weights: Tensor, *, guidance: bool) -> Tensor:
    """Where centers and offsets are learnt (section 3.4), (B, H, W): labelled pixels with their weights.

    Without guidance (ablation, table 3) all others count too, with weight 1; the targets have no center and no offset
    there.
    """
    return weights if guidance else torch.where(weights > 0, weights, 1.0)


def semantic_loss(logits: Tensor, labels: Tensor, *, share: float) -> Tensor:
    """Cross-entropy of the semantic map (equation 5), mean of the hardest pixels of the batch.

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


def center_loss(centers: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Squared error of (B, C, H, W) center maps, one half of equation 3.

    Summed over all classes, times the weights (B, H, W), divided by the number of pixels of the batch whose weight is
    above 0; exactly 0, but with a gradient, without any.
    """
    return _per_pixel((centers.float() - wanted).square(), weights)


def offset_loss(offsets: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Absolute error of (B, 2, H, W) offsets, summed over both axes, one half of equation 4; else as `center_loss`."""
    return _per_pixel((offsets.float() - wanted).abs(), weights)


def _per_pixel(errors: Tensor, weights: Tensor) -> Tensor:
    return (errors.sum(1) * weights).sum() / (weights > 0).sum().clamp(min=1)
