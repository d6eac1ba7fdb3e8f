"""Probabilities of classes at the pixels of components, and their means over instances."""

from itertools import pairwise

import torch
from torch import Tensor

from stages.bestie.components import Components, Pixels, values_at


def class_probability(logits: Tensor, components: Components, pixels: Pixels) -> Tensor:
    """Probability (P,) float32 of its component's class at each pixel, from logits (B, C + 1, H, W).

        s(p) = exp(z_k(p)) / sum_j exp(z_j(p)) = 1 / sum_j exp(z_j(p) - z_k(p))

    z are the logits and k is the class of p's component. Plainly `logits.softmax(1)` at the pixels, which computes all
    others too. The official code zeroes the other classes without dividing anew, which leaves these numbers alone.
    """
    area = logits.shape[-2] * logits.shape[-1]
    own = values_at(logits, components.classes + 1, pixels)
    starts = torch.arange(len(logits) + 1, device=own.device) * area
    bounds = torch.searchsorted(pixels.index, starts).tolist()  # of each image's pixels in the list
    probabilities = torch.empty_like(own)
    for image, (start, end) in enumerate(pairwise(bounds)):
        index = pixels.index[start:end] - image * area
        rows = logits[image].reshape(-1, area).index_select(1, index).float()  # (C + 1, pixels of the image)
        # Where another class is out of reach of exp() its infinity gives the probability 0, as it should.
        probabilities[start:end] = rows.sub_(own[start:end]).exp_().sum(0).reciprocal_()
    return probabilities


def mean_probability(probabilities: Tensor, instance_id: Tensor, areas: Tensor) -> Tensor:
    """Mean of probabilities (P,) over the pixels of each of M instances of `areas` (M,); instance M stands for none."""
    sums = torch.zeros(len(areas) + 1, dtype=torch.float64, device=areas.device)
    return (sums.index_add_(0, instance_id, probabilities.double())[:-1] / areas).float()
