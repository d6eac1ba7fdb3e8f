"""What one image and its pseudo masks look like to the network."""

import numpy as np
import torch
from torch import Tensor

from stages.core.artifacts.instances import Instances
from stages.core.images.loading import normalise
from stages.ops import resize as resizing


def scaled_size(height: int, width: int, *, shorter_side: int, longest_side: int) -> tuple[int, int]:
    """Height and width with the shorter side at `shorter_side`, or less where the longer would exceed its limit."""
    scale = min(shorter_side / min(height, width), longest_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def scaled_image(rgb: np.ndarray, size: tuple[int, int], *, flip: bool) -> Tensor:
    """The image uint8 (H, W, 3) at another size, mirrored or not, normalised, (3, h, w) float32."""
    resized = resizing.resize(rgb, *size)
    return torch.from_numpy(normalise(resizing.flip(resized) if flip else resized))


def scaled_target(record: Instances, size: tuple[int, int], *, flip: bool, weighted: bool) -> dict[str, Tensor]:
    """Pseudo masks as the network's target, on the image at another size; see `MaskRcnn.forward`.

    Boxes are scaled, not taken from the scaled masks; these are nearest neighbours of pixel centers. Weights are the
    scores where `weighted`, else 1. Scores below 0 weigh 0 and scores above 1 weigh 1: the score in BESTIE's has no
    limits.
    """
    regions, (height, width) = record.regions, size
    factors = np.array([width / regions.shape[1], height / regions.shape[0]] * 2, np.float32)
    boxes = regions.boxes().astype(np.float32) * factors
    masks = regions.membership[:, resizing.nearest(regions.atoms, *size)]
    if flip:
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
        masks = masks[:, :, ::-1]
    weights = record.scores.clip(0, 1) if weighted else np.ones(len(regions), np.float32)
    return {
        "boxes": torch.from_numpy(boxes),
        "labels": torch.from_numpy(record.classes.astype(np.int64) + 1),
        "masks": torch.from_numpy(np.ascontiguousarray(masks, dtype=np.uint8)),
        "weights": torch.from_numpy(weights),
    }
