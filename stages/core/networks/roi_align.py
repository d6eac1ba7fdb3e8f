"""RoIAlign (He et al., ICCV 2017): features of boxes on a fixed grid, by bilinear samples."""

import torch
import torchvision
from torch import Tensor

# Floating-point numbers that a block of boxes may need in between on a CPU; 256 MB.
BLOCK_NUMBERS = 1 << 26


def roi_align(features: Tensor, boxes: Tensor, *, size: int, scale: float, sampling_ratio: int) -> Tensor:
    """Features (N, C, size, size) of boxes (N, 4) from features (1, C, h, w) of one image, in float32.

    Args:
        features: one image's.
        boxes: (x0, y0, x1, y1) in pixels of the network's input.
        size: bins per side.
        scale: features per pixel.
        sampling_ratio: samples per bin and axis; 0: one per feature, rounded up.

    The same as torchvision's with `aligned=True`. Its CPU kernels take up to five times as long, most of all
    backwards. A bilinear sample's weights are a product of one along y and one along x, so on a CPU the grid is cut by
    two matrix products.
    """
    features, boxes = features.float(), boxes.float()
    if features.device.type != "cpu":
        return torchvision.ops.roi_align(features, [boxes], size, scale, sampling_ratio, aligned=True)
    _, channels, _, width = features.shape
    block = max(1, BLOCK_NUMBERS // (size * channels * width))
    parts = [_cut(features[0], part, size, scale, sampling_ratio) for part in boxes.split(block)]
    return torch.cat(parts)


def _cut(features: Tensor, boxes: Tensor, size: int, scale: float, sampling_ratio: int) -> Tensor:
    channels, height, width = features.shape
    along_y = _sample_weights(boxes[:, 1::2], height, size, scale, sampling_ratio)
    along_x = _sample_weights(boxes[:, 0::2], width, size, scale, sampling_ratio)
    rows = along_y.flatten(0, 1) @ features.transpose(0, 1).flatten(1)  # (N * size, C * w)
    cut = rows.view(len(boxes), size * channels, width) @ along_x.transpose(1, 2)
    return cut.view(len(boxes), size, channels, size).transpose(1, 2)


def _sample_weights(spans: Tensor, length: int, size: int, scale: float, sampling_ratio: int) -> Tensor:
    """Weight (N, size, length) of each feature along an axis in each bin of the spans (N, 2), start and end in pixels.

    A bin is the mean of its samples. A sample more than one feature outside is zero, one less far counts as the border.
    """
    start, end = (spans * scale - 0.5).unbind(1)
    bins = (end - start) / size
    counts = torch.full_like(bins, sampling_ratio) if sampling_ratio else bins.ceil()
    sample = torch.arange(int(counts.max()) if len(counts) else 0)
    offsets = (sample + 0.5) / counts.clamp(min=1)[:, None]  # (N, samples), in bins
    places = start[:, None, None] + bins[:, None, None] * (torch.arange(size)[:, None] + offsets[:, None])
    counted = ((sample < counts[:, None])[:, None] & (places >= -1) & (places <= length)).float()
    places = places.clamp(0, length - 1)
    low = places.floor().clamp(max=max(0, length - 2))
    share = (places - low) * counted
    weights = torch.zeros(len(spans), size, length)
    weights.scatter_add_(2, low.long(), counted - share)
    weights.scatter_add_(2, (low + 1).clamp(max=length - 1).long(), share)
    return weights / counts.clamp(min=1)[:, None, None]
