"""Detections of a trained network, with the mirrored image if wanted, and their masks at full size."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.mask_rcnn.network import MaskRcnn


@dataclass(frozen=True)
class Detections:
    """What was found in an image, best first.

    Attributes:
        boxes: (N, 4) float32, (x0, y0, x1, y1) in pixels of the image as the network saw it.
        classes: (N,) int64, from 0 on, without background.
        scores: (N,) float32.
        masks: (N, M, M) float32, probability of the mask on a grid over the box.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor


@torch.no_grad()
def detect(network: MaskRcnn, image: Tensor, *, flip: bool) -> Detections:
    """Find the instances in an image (3, H, W), normalised; the network is in evaluation mode.

    With `flip` the regions of the image and of its mirror image are joined; each region's class probabilities, box
    and mask are the means of what the network says on both. Without it all is as torchvision's Mask R-CNN.
    """
    size, width = (int(image.shape[-2]), int(image.shape[-1])), image.shape[-1]
    seen = [network.features([view]) for view in ([image, image.flip(-1)] if flip else [image])]
    found = [network.rpn(images, features)[0][0] for images, features in seen]
    proposals = torch.cat([_mirrored(boxes, width) if i else boxes for i, boxes in enumerate(found)])
    probabilities, deltas = [], []
    for i, (_, features) in enumerate(seen):
        regions = _mirrored(proposals, width) if i else proposals
        logits, shifts = network.heads.box_predictor(
            network.heads.box_head(network.heads.box_roi_pool(features, [regions], [size]))
        )
        probabilities.append(logits.softmax(-1))
        deltas.append(shifts.reshape(len(regions), -1, 4) * shifts.new_tensor([-1.0 if i else 1.0, 1, 1, 1]))
    boxes, scores, labels = (
        part[0]
        for part in network.heads.postprocess_detections(
            torch.stack(probabilities).mean(0).log(), torch.stack(deltas).mean(0).flatten(1), [proposals], [size]
        )
    )
    masks = [_masks(network, features, boxes, labels, size, flip=bool(i)) for i, (_, features) in enumerate(seen)]
    return Detections(boxes, labels - 1, scores, torch.stack(masks).mean(0))


def _masks(
    network: MaskRcnn, features: dict[str, Tensor], boxes: Tensor, labels: Tensor, size: tuple[int, int], *, flip: bool
) -> Tensor:
    """Mask probabilities (N, M, M) of boxes on one view of the image, turned back."""
    heads = network.heads
    regions = _mirrored(boxes, size[1]) if flip else boxes
    logits = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, [regions], [size])))
    own = logits[torch.arange(len(labels), device=labels.device), labels].sigmoid()
    return own.flip(-1) if flip else own


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack([width - x1, y0, width - x0, y1], 1)


def maskness(probabilities: Tensor, *, threshold: float) -> np.ndarray:
    """How sure masks are of themselves (N,) float64: the maskness of SOLO, 0 of a mask without a cell.

        q_i = sum of m_i(p) over the p in F_i / |F_i|,    F_i = {p : m_i(p) >= threshold}

    Args:
        probabilities: m (N, M, M).
        threshold: probability from which a cell belongs to the mask.
    """
    inside = probabilities >= threshold
    sums = probabilities.double().where(inside, 0).sum((1, 2))
    return (sums / inside.sum((1, 2)).clamp(min=1)).cpu().numpy()


def full_masks(probabilities: Tensor, boxes: Tensor, size: tuple[int, int], *, threshold: float) -> np.ndarray:
    """Masks (N, H, W) bool of an image of the given size: bilinear between the grid's cells, then thresholded.

    Differs from torchvision: boxes keep their fractions of a pixel, and are half-open (as in Detectron2); torchvision
    cuts them to whole pixels and makes each mask a pixel wider.

    Args:
        probabilities: (N, M, M).
        boxes: (N, 4) in pixels of that image, not empty.
        size: height and width.
        threshold: probability from which a pixel belongs to the mask.
    """
    masks = np.zeros((len(boxes), *size), bool)
    for mask, grid, box in zip(masks, probabilities, boxes, strict=True):
        window, values = _pasted(grid, box, size)
        mask[window] = values >= threshold
    return masks


def soft_masks(probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Mask probabilities (N, H, W) float32 of an image, 0 outside the boxes; arguments as for `full_masks`."""
    masks = np.zeros((len(boxes), *size), np.float32)
    for mask, grid, box in zip(masks, probabilities, boxes, strict=True):
        window, values = _pasted(grid, box, size)
        mask[window] = values.clip(0)
    return masks


def _pasted(grid: Tensor, box: Tensor, size: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray]:
    """Rows and columns of the pixels that a box touches, and the grid's probability in them; -1 outside the box."""
    height, width = size
    x0, y0, x1, y1 = box.tolist()
    left, right = max(0, int(np.floor(x0))), min(width, int(np.ceil(x1)))
    top, bottom = max(0, int(np.floor(y0))), min(height, int(np.ceil(y1)))
    if left >= right or top >= bottom:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), np.float32)
    xs = (torch.arange(left, right) + 0.5 - x0) / (x1 - x0) * 2 - 1
    ys = (torch.arange(top, bottom) + 0.5 - y0) / (y1 - y0) * 2 - 1
    places = torch.stack([xs.expand(len(ys), -1), ys[:, None].expand(-1, len(xs))], -1)
    values = functional.grid_sample(
        grid.cpu().float()[None, None], places[None], padding_mode="border", align_corners=False
    )
    inside = (places.abs() <= 1).all(-1)
    return (slice(top, bottom), slice(left, right)), values[0, 0].where(inside, -1).numpy()
