"""Faster R-CNN for one image at a time, each object with a weight (equations 3 and 4), from torchvision's parts."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import box_iou, clip_boxes_to_image, nms, remove_small_boxes

from stages.core.networks.weighted_rcnn import box_losses, mask_loss
from stages.label_penet.settings import PenetLossSettings, PenetNetworkSettings

RPN_CODER = (1.0, 1.0, 1.0, 1.0)
BOX_CODER = (10.0, 10.0, 5.0, 5.0)  # of Fast R-CNN's regression targets
RPN_NMS = 0.7  # Faster R-CNN
SMALLEST = 1e-3  # pixels; sides below are no region (torchvision)


class Objects(NamedTuple):
    """K objects of an image that a module learns.

    Attributes:
        boxes: (K, 4) float32, (x0, y0, x1, y1) in pixels of the input.
        labels: (K,) int64 from 1 on.
        weights: (K,) float32, w*.
        masks: (K, h, w) uint8 on the input; read where there is a mask head.
    """

    boxes: Tensor
    labels: Tensor
    weights: Tensor
    masks: Tensor


class Proposed(NamedTuple):
    """What the region proposal network says.

    Attributes:
        boxes: (R, 4) its regions, best first.
        objectness: (A,) logits of all anchors.
        deltas: (A, 4) of all anchors.
        anchors: (A, 4).
    """

    boxes: Tensor
    objectness: Tensor
    deltas: Tensor
    anchors: Tensor


class ProposalNetwork(nn.Module):
    """Regions from features: a 3x3 convolution, then objectness and box of each anchor (RPN; N(0, 0.01))."""

    def __init__(self, channels: int, settings: PenetNetworkSettings, losses: PenetLossSettings) -> None:
        super().__init__()
        self.settings = losses
        self.anchors = AnchorGenerator((tuple(settings.anchor_sizes),), (tuple(settings.anchor_ratios),))
        self.head = RPNHead(channels, self.anchors.num_anchors_per_location()[0])
        self.coder = BoxCoder(RPN_CODER)
        self.matcher = Matcher(losses.rpn_foreground, losses.rpn_background, allow_low_quality_matches=True)
        self.sampler = BalancedPositiveNegativeSampler(losses.rpn_anchors, 0.5)

    def forward(
        self, features: Tensor, size: tuple[int, int], padded: tuple[int, int], *, before: int, after: int
    ) -> Proposed:
        """Regions of features (1, D, h, w) of an image: the `before` best pass suppression, `after` of them stay."""
        (objectness,), (deltas,) = self.head([features])
        count = objectness.shape[1]
        objectness = objectness[0].permute(1, 2, 0).reshape(-1).float()
        deltas = deltas[0].view(count, 4, *deltas.shape[-2:]).permute(2, 3, 0, 1).reshape(-1, 4).float()
        canvas = ImageList(torch.empty(1, 3, *padded, device="meta"), [size])
        (anchors,) = self.anchors(canvas, [features])
        with torch.no_grad():
            boxes = clip_boxes_to_image(self.coder.decode(deltas, [anchors])[:, 0], size)
            best = objectness.topk(min(before, len(objectness))).indices
            best = best[remove_small_boxes(boxes[best], SMALLEST)]
            best = best[nms(boxes[best], objectness[best], RPN_NMS)][:after]
        return Proposed(boxes[best], objectness, deltas, anchors)

    def losses(self, proposed: Proposed, objects: Objects) -> dict[str, Tensor]:
        """Equation 3 on sampled anchors i with predictions w_i and t_i.

            L = 1 / N sum_i L_obj(w_i, w_i*) + 1 / N sum_i w_i* L_reg(t_i, t_i*)

        w_i* is the weight of the object that an anchor belongs to, 0 for background; L_obj the cross-entropy. With
        `objectness: weighted` the first term is w_i* L_obj(w_i, 1), and background counts by its nearest object's
        weight. L_reg is smooth L1, of objects' anchors alone.
        """
        count = len(proposed.anchors)
        if len(objects.boxes):
            matched = self.matcher(box_iou(objects.boxes, proposed.anchors))
        else:
            matched = torch.full((count,), Matcher.BELOW_LOW_THRESHOLD, device=proposed.anchors.device)
        labels = torch.where(matched == Matcher.BETWEEN_THRESHOLDS, -1.0, (matched >= 0).float())
        positive, negative = (part[0].nonzero()[:, 0] for part in self.sampler([labels]))
        sampled = torch.cat([positive, negative])
        own = matched[positive]
        target = torch.zeros(len(sampled), device=labels.device)
        factor = torch.ones_like(target)
        if self.settings.objectness == "soft":
            target[: len(positive)] = objects.weights[own]
        else:
            target[: len(positive)] = 1.0
            factor = nearest_weights(proposed.anchors[sampled], objects)
            factor[: len(positive)] = objects.weights[own]
        entropy = functional.binary_cross_entropy_with_logits(
            proposed.objectness[sampled], target, factor, reduction="sum"
        )
        aims = self.coder.encode([objects.boxes[own]], [proposed.anchors[positive]])[0]
        distance = functional.smooth_l1_loss(proposed.deltas[positive], aims, beta=1 / 9, reduction="none").sum(1)
        total = max(1, len(sampled))
        return {"objectness": entropy / total, "rpn_box": (distance * objects.weights[own]).sum() / total}


class Sampled(NamedTuple):
    """R regions that the heads' losses are taken from.

    Attributes:
        boxes: (R, 4).
        labels: (R,) int64, 0 background.
        matched: (R,) int64, the object of each; any number for background.
        weights: (R,) float32 w*: its object's, or for background its nearest object's.
    """

    boxes: Tensor
    labels: Tensor
    matched: Tensor
    weights: Tensor


class BoxHeads(nn.Module):
    """Class and box of regions (RCNN)."""

    def __init__(
        self, fc: nn.Module, settings: PenetNetworkSettings, losses: PenetLossSettings, *, class_count: int
    ) -> None:
        super().__init__()
        self.fc, self.settings, self.class_count = fc, losses, class_count
        self.classes = nn.Linear(fc.width, 1 + class_count)
        self.boxes = nn.Linear(fc.width, 4 * (1 + class_count))
        for layer, std in ((self.classes, 0.01), (self.boxes, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
        self.coder = BoxCoder(BOX_CODER)
        self.matcher = Matcher(losses.box_foreground, losses.box_foreground, allow_low_quality_matches=False)
        self.sampler = BalancedPositiveNegativeSampler(losses.boxes, losses.box_foreground_share)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R, 1 + C), background first, and deltas (R, 4 (1 + C)) of features (R, D, s, s) after RoIAlign."""
        vectors = self.fc(regions)
        return self.classes(vectors).float(), self.boxes(vectors).float()

    @property
    def chain(self) -> list[nn.Linear]:
        """The linear layers from a region's features to its class scores."""
        return [*self.fc.layers, self.classes]

    @torch.no_grad()
    def sample(self, boxes: Tensor, objects: Objects) -> Sampled:
        """Regions to learn from, of the proposed ones (R, 4) and the objects' own boxes."""
        boxes = torch.cat([boxes, objects.boxes])
        if len(objects.boxes):
            matched = self.matcher(box_iou(objects.boxes, boxes))
        else:
            matched = torch.full((len(boxes),), Matcher.BELOW_LOW_THRESHOLD, device=boxes.device)
        positive, negative = self.sampler([(matched >= 0).long()])
        chosen = (positive[0] | negative[0]).nonzero()[:, 0]
        boxes, matched = boxes[chosen], matched[chosen]
        weights = nearest_weights(boxes, objects)
        labels = torch.zeros_like(matched)
        own = matched >= 0
        labels[own], weights[own] = objects.labels[matched[own]], objects.weights[matched[own]]
        return Sampled(boxes, labels, matched, weights)

    def losses(self, logits: Tensor, deltas: Tensor, sampled: Sampled, objects: Objects) -> dict[str, Tensor]:
        """Equation 4 on sampled regions i with class probabilities p_i and boxes t_i.

        L = 1 / N sum_i w_i* L_cls(p_i, p_i*) + 1 / N sum_i w_i* L_reg(t_i, t_i*)
        """
        own = sampled.labels > 0
        aims = torch.zeros_like(sampled.boxes)
        aims[own] = self.coder.encode([objects.boxes[sampled.matched[own]]], [sampled.boxes[own]])[0]
        classifier, box = box_losses(logits, deltas, sampled.labels, aims, sampled.weights)
        return {"classifier": classifier, "box": box}

    def decode(self, deltas: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes (R, C, 4) of each class within the image, from deltas of regions (R, 4)."""
        decoded = self.coder.decode(deltas, [boxes]).view(len(boxes), -1, 4)[:, 1:]
        return clip_boxes_to_image(decoded.reshape(-1, 4), size).view(decoded.shape)


def nearest_weights(boxes: Tensor, objects: Objects) -> Tensor:
    """Weights (R,) float32 of the objects that boxes (R, 4) overlap most; their mean where none does, 1 without any."""
    if not len(objects.boxes):
        return torch.ones(len(boxes), device=boxes.device)
    best, nearest = box_iou(boxes, objects.boxes).max(1)
    return torch.where(best > 0, objects.weights[nearest], objects.weights.mean())


def sampled_mask_loss(logits: Tensor, sampled: Sampled, objects: Objects) -> Tensor:
    """Cross-entropy of the masks of the sampled regions with a class, weighted; logits (R', C, M, M) of these."""
    own = sampled.labels > 0
    shapes = project_masks_on_boxes(objects.masks, sampled.boxes[own], sampled.matched[own], logits.shape[-1])
    return mask_loss(logits, sampled.labels[own] - 1, shapes, sampled.weights[own])
