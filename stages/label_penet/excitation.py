"""Where in its region a classifier looks: excitation back-propagation, run forwards for all regions at once.

Label-PEnet section 3.2 ("feed forward manner"), after Zhang et al., ECCV 2016. For a layer y = W x + b with x >= 0,
W+ = max(W, 0) and probability p_out on its outputs, each input gets

    p_in = x * W+^T (p_out / W+ x),    0 / 0 := 0

so that probability is passed on and none is lost; biases and ReLUs are left out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def excitation(seeds: Tensor, activations: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Probability (R, D) on the inputs of a chain of layers, of R regions.

    A region's probabilities sum to those of its seed where every layer passes something on; an input of zeros alone
    passes on nothing.

    Args:
        seeds: (R, K) probabilities on the outputs of the last layer, not negative.
        activations: inputs (R, D_i) of the layers, not negative, from the last layer to the first.
        weights: (D_{i-1}, D_i) of these layers, in the same order.
    """
    probability = seeds
    for inputs, weight in zip(activations, weights, strict=True):
        positive = weight.clamp(min=0)
        passed = inputs @ positive.T
        share = torch.where(passed > 0, probability / passed.where(passed > 0, passed.new_ones(())), 0.0)
        probability = inputs * (share @ positive)
    return probability


def excitation_maps(seeds: Tensor, features: Tensor, layers: Sequence[torch.nn.Linear]) -> Tensor:
    """Attention maps A_i (R, s, s) of R regions: probability on their features, summed over the channels.

    Args:
        seeds: (R, K) class activation vectors, zero but for each region's own class.
        features: (R, D, s, s) after RoIAlign, not negative.
        layers: linear layers from the features, flattened, to the class scores, with ReLUs between them.
    """
    activations = [features.flatten(1)]
    for layer in layers[:-1]:
        activations.append(layer(activations[-1]).relu())
    weights = [layer.weight for layer in layers]
    return excitation(seeds, activations[::-1], weights[::-1]).view_as(features).sum(1)


def gradient_maps(seeds: Tensor, features: Tensor, layers: Sequence[torch.nn.Linear]) -> Tensor:
    """Attention maps (R, s, s) by Grad-CAM (Selvaraju et al., ICCV 2017), scaled so that each sums to its seed.

        A_i = relu( sum_k a_{ik} F_{ik} ),    a_{ik} = mean over the cells of dy_i / dF_{ik}

    F_ik is channel k of the region's features, y_i the score of its seed's class. Arguments as in `excitation_maps`.
    """
    with torch.enable_grad():
        inputs = features.detach().requires_grad_()
        x = inputs.flatten(1)
        for layer in layers[:-1]:
            x = layer(x).relu()
        (gradient,) = torch.autograd.grad((layers[-1](x) * (seeds > 0)).sum(), inputs)
    maps = functional.relu((gradient.mean((2, 3), keepdim=True) * features).sum(1))
    total = maps.sum((1, 2), keepdim=True)
    return maps * (seeds.sum(1)[:, None, None] / total.where(total > 0, total.new_ones(())))


ATTENTION = {"ebp": excitation_maps, "gradcam": gradient_maps}
