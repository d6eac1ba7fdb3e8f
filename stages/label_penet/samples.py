"""What one image, its proposals and its objects look like to the networks."""

import numpy as np
import torch
from torch import Tensor

from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.images.loading import normalise
from stages.label_penet.boxes import Objects
from stages.label_penet.network import Image, padded
from stages.ops import resize as resizing
from stages.ops.regions import Regions


def scaled_size(height: int, width: int, *, shorter_side: int | None, longest_side: int) -> tuple[int, int]:
    """Height and width with the shorter side at `shorter_side` (None: its own), or less for the longer side's limit."""
    wanted = min(height, width) if shorter_side is None else shorter_side
    scale = min(wanted / min(height, width), longest_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def scaled_image(rgb: np.ndarray, size: tuple[int, int], *, flip: bool) -> Image:
    """The image uint8 (H, W, 3) at another size, mirrored or not, normalised and padded."""
    resized = resizing.resize(rgb, *size)
    return padded(torch.from_numpy(normalise(resizing.flip(resized) if flip else resized)))


def scaled_boxes(boxes: np.ndarray, shape: tuple[int, int], size: tuple[int, int], *, flip: bool) -> Tensor:
    """Boxes (R, 4) of an image of `shape` at another size, mirrored or not, float32."""
    factors = np.array([size[1] / shape[1], size[0] / shape[0]] * 2, np.float32)
    scaled = np.asarray(boxes, np.float32).reshape(-1, 4) * factors
    if flip:
        scaled = np.stack([size[1] - scaled[:, 2], scaled[:, 1], size[1] - scaled[:, 0], scaled[:, 3]], 1)
    return torch.from_numpy(np.ascontiguousarray(scaled, np.float32))


def scaled_regions(regions: Regions, size: tuple[int, int], *, flip: bool) -> Regions:
    """Regions at another size, mirrored or not; of small ones nothing may be left."""
    atoms = resizing.nearest(regions.atoms, *size)
    scaled = Regions.from_superpixels(atoms, regions.membership)
    return scaled.flip() if flip else scaled


def scaled_objects(record: ModuleLabels, size: tuple[int, int], *, flip: bool, weighted: bool, masks: bool) -> Objects:
    """A record's objects at another size; weights are 1 unless `weighted`, masks are left empty unless wanted."""
    shape = record.atoms.shape
    shapes = np.zeros((len(record.classes), 1, 1), np.uint8)
    if masks:
        regions = record.regions
        shapes = regions.membership[:, resizing.nearest(regions.atoms, *size)].astype(np.uint8)
        shapes = shapes[:, :, ::-1] if flip else shapes
    weights = record.weights if weighted else np.ones(len(record.classes), np.float32)
    return Objects(
        boxes=scaled_boxes(record.boxes, shape, size, flip=flip),
        labels=torch.from_numpy(record.classes.astype(np.int64) + 1),
        weights=torch.from_numpy(np.asarray(weights, np.float32)),
        masks=torch.from_numpy(np.ascontiguousarray(shapes)),
    )
