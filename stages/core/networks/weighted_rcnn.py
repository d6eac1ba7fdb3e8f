"""Box and mask head whose losses are weighted by how sure a pseudo mask is."""

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.roi_heads import RoIHeads, project_masks_on_boxes


class WeightedRoIHeads(RoIHeads):
    """torchvision's heads; in training each sampled region counts with the weight of its pseudo mask.

    Targets hold `weights` (N,) float32 besides torchvision's `boxes`, `labels` and `masks`. Terms are divided by the
    number of regions, not by their weights, so that doubtful pseudo masks move the network less; with weights of 1
    they are torchvision's own.
    """

    def forward(
        self, features: dict[str, Tensor], proposals: list[Tensor], image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:  # fmt: skip
        """As torchvision's: no detections and the losses in training, else detections and no losses."""
        if not self.training:
            return super().forward(features, proposals, image_shapes, targets)
        if targets is None:
            raise ValueError("no targets are given, but the heads are in training; give those of each image")
        proposals, matched, labels, box_targets = self.select_training_samples(proposals, targets)
        weights = [
            region_weights(target["weights"], index, label)
            for target, index, label in zip(targets, matched, labels, strict=True)
        ]
        pooled = self.box_head(self.box_roi_pool(features, proposals, image_shapes))
        logits, deltas = self.box_predictor(pooled)
        classifier, box = box_losses(
            logits.float(), deltas.float(), torch.cat(labels), torch.cat(box_targets), torch.cat(weights)
        )
        objects = [label > 0 for label in labels]
        regions = [boxes[chosen] for boxes, chosen in zip(proposals, objects, strict=True)]
        shapes = [
            project_masks_on_boxes(target["masks"], boxes, index[chosen], 2 * self.mask_roi_pool.output_size[0])
            for target, boxes, index, chosen in zip(targets, regions, matched, objects, strict=True)
        ]
        logits = self.mask_predictor(self.mask_head(self.mask_roi_pool(features, regions, image_shapes)))
        chosen = torch.cat(objects)
        mask = mask_loss(logits.float(), torch.cat(labels)[chosen], torch.cat(shapes), torch.cat(weights)[chosen])
        return [], {"loss_classifier": classifier, "loss_box_reg": box, "loss_mask": mask}


def region_weights(weights: Tensor, matched: Tensor, labels: Tensor) -> Tensor:
    """Weights (R,) float32 of sampled regions: of the pseudo mask that each belongs to, 1 for background.

    Args:
        weights: (N,) float32 of the image's pseudo masks; none in an image without objects.
        matched: (R,) int64, each region's pseudo mask; any number for background.
        labels: (R,) int64, 0 for background.
    """
    if not len(weights):
        return torch.ones(len(labels), dtype=torch.float32, device=labels.device)
    return torch.where(labels > 0, weights[matched], 1.0)


def box_losses(
    logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of R regions and, of those with a class, smooth L1 of its box; means over all R (Fast R-CNN).

    Args:
        logits: (R, 1 + C), background first.
        deltas: (R, 4 (1 + C)), four for each class, background first.
        labels: (R,) int64, 0 for background.
        targets: (R, 4), what the deltas of a region's class are to be.
        weights: (R,) float32.
    """
    entropy = functional.cross_entropy(logits, labels, reduction="none")
    objects = (labels > 0).nonzero()[:, 0]
    own = deltas.reshape(len(labels), -1, 4)[objects, labels[objects]]
    distance = functional.smooth_l1_loss(own, targets[objects], beta=1 / 9, reduction="none").sum(1)
    return (entropy * weights).mean(), (distance * weights[objects]).sum() / labels.numel()


def mask_loss(logits: Tensor, labels: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of each region's mask on the channel of its class, mean over R regions; 0 without any.

    Args:
        logits: (R, 1 + C, M, M).
        labels: (R,) int64, 1 to C.
        targets: (R, M, M) float32 in [0, 1].
        weights: (R,).
    """
    if not len(labels):
        return logits.sum() * 0
    own = logits[torch.arange(len(labels), device=labels.device), labels]
    entropy = functional.binary_cross_entropy_with_logits(own, targets.float(), reduction="none")
    return (entropy.mean((1, 2)) * weights).mean()
