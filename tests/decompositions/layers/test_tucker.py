"""The layer of a full Tucker decomposition against the dense layer that it replaces, and a real pass."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from decompositions.core.frontier import as_modes
from decompositions.layers.tucker import TuckerLinear
from decompositions.tucker import Tucker
from evaluation.counts import count_macs
from tests.decompositions.weights import site_of, weight_of

THREE = Tucker(num_modes=3)


def modes(format: Tucker, weight: torch.Tensor) -> tuple[int, ...]:
    out, into = format.split(weight.shape)
    return (*out, *into)


def layer_at(shape, rank, format=THREE, **options) -> tuple[TuckerLinear, nn.Module]:
    """The layer of a random weight, and the dense layer that it replaces with the reconstructed weight."""
    dense = site_of(shape, **options).layer
    factors = format.analyse(dense.weight.detach()).decompose(rank)
    layer = format.layer(dense, factors)
    with torch.no_grad():
        dense.weight.copy_(factors.to_tensor())
    assert isinstance(layer, TuckerLinear)
    return layer, dense


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(24, 60), (13, 12), (1, 8), (7, 1)], ids=str)
def test_multiply_adds_and_parameters_are_those_of_a_real_pass(shape, bias):
    sizes = modes(THREE, weight_of(shape))
    site = site_of(shape, bias=bias)
    for ranks in (
        tuple([1] * 6),
        tuple(min(2, s) for s in sizes),
        tuple(min(1 + k % 3, s) for k, s in enumerate(sizes)),
    ):
        layer, _ = layer_at(shape, ranks, bias=bias)
        num_params, macs = (int(n) for n in THREE.count(site, as_modes(ranks)))
        assert count_macs(layer, (3, shape[1])) == macs
        assert sum(p.numel() for p in layer.parameters()) == num_params


def test_counts_of_a_known_layer():
    """By hand: 8 = 2·4 → 6 = 2·3, ranks (1, 3) of the inputs and (2, 1) of the outputs."""
    format, site = Tucker(), site_of((6, 8))
    num_params, macs = format.count(site, torch.tensor([[2, 1, 1, 3]]))
    assert int(num_params) == 2 * 1 * 1 * 3 + (2 * 2 + 3 * 1 + 2 * 1 + 4 * 3) + 6
    into, core, out = 2 * 4 * 3 + 3 * 2 * 1, 3 * 2, 2 * 1 * 3 + 3 * 2 * 2
    assert int(macs) == (into + core + out) * site.positions


@pytest.mark.parametrize("bias", [True, False])
def test_to_dense_equals_the_layer_and_any_leading_sizes_are_taken(bias):
    layer, reference = layer_at((24, 60), (2, 1, 3, 3, 2, 4), bias=bias)
    merged = layer.to_dense()
    assert torch.allclose(merged.weight, reference.weight)
    assert (merged.bias is None) == (not bias)
    for lead in ((), (5,), (2, 3), (2, 1, 3), (0,), (2, 0)):
        x = torch.randn(*lead, 60, dtype=torch.float64)
        assert layer(x).shape == (*lead, 24)
        for other in (merged, reference):
            assert torch.allclose(layer(x), other(x), atol=1e-10)
    x = torch.randn(3, 60, 4, dtype=torch.float64).mT  # not contiguous
    assert torch.allclose(layer(x), reference(x), atol=1e-10)
    half = copy.deepcopy(layer).to(torch.bfloat16).to_dense()
    assert half.weight.dtype == torch.bfloat16


def test_one_side_may_have_its_own_modes():
    format = Tucker(modes={"24": [4, 6], "out_24": [24], "in_24x60": [3, 4, 5]})
    assert format.split((24, 60)) == ((24,), (3, 4, 5))
    assert format.split((60, 24)) == ((6, 10), (4, 6))


def test_modes_may_be_given_and_differ_in_number():
    format = Tucker(modes={"24": [24], "60": [3, 4, 5]})
    layer, reference = layer_at((24, 60), (5, 2, 3, 4), format)
    x = torch.randn(7, 60, dtype=torch.float64)
    assert torch.allclose(layer(x), reference(x), atol=1e-10)
    with pytest.raises(ValueError, match="expected 60 as a product"):
        Tucker(modes={"60": [3, 4]}).analyse(torch.randn(24, 60))


def test_names_in_the_state_say_what_the_numbers_are():
    layer, _ = layer_at((12, 20), (2, 3, 3, 2), Tucker())
    shapes = {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()}
    assert shapes == {
        "into.0.weight": (3, 4),
        "into.1.weight": (2, 5),
        "core.weight": (6, 6),
        "out.0.weight": (3, 2),
        "out.1.weight": (4, 3),
        "bias": (12,),
    }


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_reset_keeps_the_variance_and_multiplies_it_by_the_squared_gain(gain):
    """The mean of many seeds, since the product of few random numbers is far from its mean."""
    format, shape = Tucker(), (1024, 1024)
    layer = format.layer(nn.Linear(1024, 1024), format.zeros(torch.empty(shape), (16, 16, 16, 16)))
    x = torch.randn(64, 1024, generator=torch.Generator().manual_seed(0))
    variances = []
    for seed in range(20):
        torch.manual_seed(seed)
        layer.reset(gain)
        assert not layer.bias.any()
        stds = [float(p.detach().std()) * p.shape[1] ** 0.5 for p in layer.parameters() if p.ndim == 2]
        assert stds == pytest.approx([1, 1, 1, gain, 1], rel=0.15), "all but the last contraction, that of out.0"
        with torch.no_grad():
            variances.append(float(layer(x).var()))
    assert np.mean(variances) == pytest.approx(gain**2, rel=0.1)
