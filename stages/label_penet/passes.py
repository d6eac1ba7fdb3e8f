"""What a module does with an image: its losses in training, its scores and detections in prediction."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou

from stages.core.networks.mil import image_level_loss
from stages.core.networks.roi_align import roi_align
from stages.label_penet.boxes import Objects, sampled_mask_loss
from stages.label_penet.network import ClassificationModule, ClassificationScores, DetectionModule
from stages.label_penet.settings import PenetLossSettings


def multi_label_loss(scores: ClassificationScores, tags: Tensor, settings: PenetLossSettings) -> Tensor:
    """Loss of the tags (C,) bool (equations 1 and 2).

        x_ic = x^c_ic w_ic    s_c = sum_i x_ic    p = softmax(s)    L = - sum_c y_c log p_c

    An image without a class has the loss 0. Differs from the paper with `mil: wsddn`: scores are softmax over classes
    times w, and the loss is the binary cross-entropy of each class. With `mil: binary` p = sigmoid(s), and the loss is
    that cross-entropy, too: it does not compare classes, so that there may be a single one, or none in the image.
    """
    present = tags.float()
    if settings.mil == "wsddn":
        return image_level_loss(scores.logits.softmax(1), scores.shares, present, floor=settings.probability_floor)
    totals = (scores.logits * scores.shares).sum(0)
    if settings.mil == "binary":
        return functional.binary_cross_entropy_with_logits(totals, present)
    return -(present * totals.log_softmax(0)).sum()


def classification_losses(
    module: ClassificationModule, shared: Tensor, boxes: Tensor, tags: Tensor, settings: PenetLossSettings
) -> dict[str, Tensor]:
    """The term `mil` of an image's proposals (R, 4)."""
    return {"mil": multi_label_loss(module(shared, boxes), tags, settings)}


def detection_losses(
    module: DetectionModule, shared: Tensor, objects: Objects, *, size: tuple[int, int], padded: tuple[int, int],
    settings: PenetLossSettings,
) -> dict[str, Tensor]:  # fmt: skip
    """The terms of Faster R-CNN and, where the module has masks, `mask`."""
    flat, deep = module.features(shared)
    limits = {"before": settings.rpn_before_nms, "after": settings.rpn_after_nms}
    proposed = module.rpn(flat, size, padded, **limits)
    losses = module.rpn.losses(proposed, objects)
    sampled = module.heads.sample(proposed.boxes, objects)
    logits, deltas = module.heads(_cut(module, flat, sampled.boxes))
    losses |= module.heads.losses(logits, deltas, sampled, objects)
    if module.mask is not None:
        own = sampled.boxes[sampled.labels > 0]
        losses["mask"] = sampled_mask_loss(module.mask(_cut(module, deep, own, module.mask.bins)), sampled, objects)
    return losses


def _cut(module: DetectionModule, features: Tensor, boxes: Tensor, bins: int | None = None) -> Tensor:
    return roi_align(features, boxes, size=bins or module.bins, scale=1 / module.stride, sampling_ratio=0)


class Detected(NamedTuple):
    """What a box head says of R regions of an image.

    Attributes:
        boxes: (R, C, 4) of each class, in pixels of the input.
        probabilities: (R, 1 + C), background first.
        features: (R, D, s, s) after RoIAlign.
    """

    boxes: Tensor
    probabilities: Tensor
    features: Tensor


@torch.no_grad()
def score_regions(
    module: DetectionModule, shared: Tensor, *, size: tuple[int, int], padded: tuple[int, int], before: int, after: int
) -> Detected:
    """Boxes and class probabilities of the regions that the module proposes."""
    flat, _ = module.features(shared)
    proposed = module.rpn(flat, size, padded, before=before, after=after)
    features = _cut(module, flat, proposed.boxes)
    logits, deltas = module.heads(features)
    return Detected(module.heads.decode(deltas, proposed.boxes, size), logits.softmax(1), features)


@torch.no_grad()
def mask_probabilities(module: DetectionModule, shared: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
    """Mask probabilities (K, M, M) on a grid over boxes (K, 4), of their classes (K,) from 0 on."""
    assert module.mask is not None  # asked of modules with masks alone
    _, deep = module.features(shared)
    logits = module.mask(_cut(module, deep, boxes, module.mask.bins))
    return logits[torch.arange(len(classes), device=classes.device), classes].sigmoid()


def single_label_loss(scores: ClassificationScores, boxes: Tensor, objects: Objects, *, overlap: float) -> Tensor:
    """Backward validation of the first module (section 3.3): cross-entropy of proposals with their objects' classes.

    A proposal (R, 4) has the class of the object with the largest IoU where that is above `overlap` (beta), else it is
    background.
    """
    labels = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    if len(objects.boxes):
        best, nearest = box_iou(boxes, objects.boxes).max(1)
        labels = torch.where(best > overlap, objects.labels[nearest], 0)
    return functional.cross_entropy(scores.single, labels)
