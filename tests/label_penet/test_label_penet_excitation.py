"""Excitation back-propagation against plain autograd, and the properties that it must have."""

import itertools

import pytest
import torch
from torch import nn

from stages.label_penet.excitation import excitation, excitation_maps, gradient_maps


class Excited(torch.autograd.Function):
    """A layer with ReLU whose backward pass is the rule of excitation back-propagation."""

    @staticmethod
    def forward(ctx, x, layer):
        ctx.save_for_backward(x, layer.weight)
        return layer(x).relu()

    @staticmethod
    def backward(ctx, probability):
        x, weight = ctx.saved_tensors
        result = torch.zeros_like(x)
        for r in range(len(x)):
            for k in range(len(weight)):
                z = sum(max(0.0, w) * v for w, v in zip(weight[k].tolist(), x[r].tolist(), strict=True))
                if z > 0:
                    result[r] += x[r] * weight[k].clamp(min=0) * probability[r, k] / z
        return result, None


def network(seed=0, sides=(3, 4), classes=5):
    torch.manual_seed(seed)
    widths = [sides[0] * sides[1] ** 2, 12, 9, classes]
    return [nn.Linear(a, b).double() for a, b in itertools.pairwise(widths)]


def features_of(seed, count=6, sides=(3, 4)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, sides[0], sides[1], sides[1], generator=generator, dtype=torch.float64).relu()


def seeds_of(seed, count=6, classes=5):
    generator = torch.Generator().manual_seed(100 + seed)
    seeds = torch.zeros(count, classes, dtype=torch.float64)
    own = torch.randint(classes, (count,), generator=generator)
    seeds[torch.arange(count), own] = torch.rand(count, generator=generator, dtype=torch.float64)
    return seeds


@pytest.mark.parametrize("seed", range(6))
def test_the_feed_forward_form_is_that_of_autograd(seed):
    layers, features, seeds = network(seed), features_of(seed), seeds_of(seed)
    x = features.flatten(1).clone().requires_grad_()
    y = x
    for layer in layers:
        y = Excited.apply(y, layer)
    y.backward(seeds)
    expected = x.grad.view_as(features).sum(1)
    torch.testing.assert_close(excitation_maps(seeds, features, layers), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_no_probability_is_lost(seed):
    torch.manual_seed(seed)
    layers = [layer.float() for layer in network(seed)]
    for layer in layers:  # something is passed on everywhere
        nn.init.uniform_(layer.weight, -0.5, 1.0)
        nn.init.zeros_(layer.bias)
    features, seeds = features_of(seed).float() + 0.01, seeds_of(seed).float()
    maps = excitation_maps(seeds, features, layers)
    torch.testing.assert_close(maps.sum((1, 2)), seeds.sum(1), rtol=1e-4, atol=1e-4)
    assert (maps >= 0).all()


def test_mass_is_shared_by_hand():
    """Inputs 1, 3 with weights 2, 1 share the seed .5 as 2 : 3; a negative weight passes nothing on."""
    seeds, inputs = torch.tensor([[0.5, 0.0]]), torch.tensor([[1.0, 3.0, 7.0]])
    found = excitation(seeds, [inputs], [torch.tensor([[2.0, 1.0, -5.0], [1.0, 1.0, 1.0]])])
    torch.testing.assert_close(found, torch.tensor([[0.2, 0.3, 0.0]]))


def test_features_of_zeros_give_a_map_of_zeros():
    for attention in (excitation_maps, gradient_maps):
        found = attention(seeds_of(0), torch.zeros(6, 3, 4, 4, dtype=torch.float64), network())
        assert torch.equal(found, torch.zeros(6, 4, 4, dtype=torch.float64))


def test_the_last_bias_and_weights_below_zero_change_nothing():
    layers, features, seeds = network(), features_of(1), seeds_of(1)
    before = excitation_maps(seeds, features, layers)
    with torch.no_grad():
        layers[-1].bias += 3
        layers[-1].weight[layers[-1].weight < 0] *= 5
    torch.testing.assert_close(excitation_maps(seeds, features, layers), before)


def test_each_region_is_by_itself():
    layers, features, seeds = network(), features_of(2), seeds_of(2)
    together = excitation_maps(seeds, features, layers)
    alone = torch.cat([excitation_maps(seeds[[i]], features[[i]], layers) for i in range(6)])
    torch.testing.assert_close(together, alone)


def test_no_region_gives_no_map():
    for attention in (excitation_maps, gradient_maps):
        assert attention(seeds_of(0)[:0], features_of(0)[:0], network()).shape == (0, 4, 4)


def test_gradient_maps_are_grad_cam_with_the_mass_of_the_seed():
    layers, features, seeds = network(), features_of(3), seeds_of(3)
    maps = gradient_maps(seeds, features, layers)
    for i in range(6):
        x = features[[i]].clone().requires_grad_()
        y = x.flatten(1)
        for layer in layers[:-1]:
            y = layer(y).relu()
        (gradient,) = torch.autograd.grad(layers[-1](y)[0, seeds[i].argmax()], x)
        weighted = (gradient.mean((2, 3), keepdim=True) * features[[i]]).sum(1)[0].relu()
        expected = weighted / weighted.sum() * seeds[i].max() if weighted.sum() > 0 else weighted
        torch.testing.assert_close(maps[i], expected.detach())
    assert all(layer.weight.grad is None for layer in layers)
