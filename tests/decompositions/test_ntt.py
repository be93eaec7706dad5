"""Nonlinear tensor trains: plain ones without activations, the formula, placements, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decompositions.core.frontier import as_modes
from decompositions.layers.ntt import NTTConv, NTTLinear, Phi
from decompositions.layers.tt import TTConv, TTLinear
from decompositions.ntt import NTT
from decompositions.tt import TT
from evaluation.counts import count_macs
from tests.decompositions.layers.test_ntt import FUNCTIONS
from tests.decompositions.weights import input_of, layer_of, site_of, weight_of


@pytest.mark.parametrize("shape", [(12, 20), (6, 4, 3, 3)], ids=str)
def test_without_activation_and_norm_it_is_the_tensor_train(shape):
    weight, site = weight_of(shape), site_of(shape)
    plain, train = NTT(activation="identity"), TT()
    rank = tuple(min(2, high) for _, high in train.analyse(weight).frontier(site).allowed)
    layer = plain.layer(site.layer, plain.analyse(weight).decompose(rank))
    assert isinstance(layer, TTLinear | TTConv)
    for ours, theirs in zip(plain.count(site, as_modes(rank)), train.count(site, as_modes(rank)), strict=True):
        assert int(ours) == int(theirs)


@pytest.mark.parametrize("shape", [(12, 20), (6, 4, 3), (6, 4, 3, 3), (6, 4, 2, 3, 2)], ids=str)
def test_with_activations_that_change_nothing_it_equals_the_dense_layer(shape):
    """A LeakyReLU is the identity on positive numbers: positive cores and inputs, against the reconstructed weight."""
    format, dense = NTT(activation="leaky_relu"), layer_of(shape)
    rank = tuple(min(2, high) for _, high in format.analyse(weight_of(shape)).frontier(site_of(shape)).allowed)
    factors = format.analyse(weight_of(shape)).decompose(rank)
    for core in factors.train.cores:
        core.abs_()
    layer = format.layer(dense, factors)
    assert isinstance(layer, NTTLinear | NTTConv)
    x = torch.rand(2, *input_of(shape), dtype=torch.float64)
    with torch.no_grad():
        dense.weight.copy_(factors.to_tensor())
        assert torch.allclose(layer(x), dense(x), atol=1e-10)
        assert not torch.allclose(layer(-x), dense(-x), atol=1e-3), "there it leaks"


def test_the_linear_formula_term_by_term():
    """`H_k = relu(contract(H_{k−1}, G_{d−k+1}) + b_k)`, by einsum for three cores."""
    format = NTT(modes={"12": [2, 3, 2], "20": [2, 5, 2]})
    layer = format.layer(layer_of((12, 20)), format.analyse(weight_of((12, 20))).decompose((3, 2)))
    with torch.no_grad():
        for phi in layer.phis:
            phi.bias.normal_()
    first, second, third = layer.cores  # (1, 2, 2, 3), (3, 3, 5, 2), (2, 2, 2, 1)
    x = torch.randn(4, 20, dtype=torch.float64)
    state = torch.einsum("bxyz,rpz->bxyrp", x.reshape(4, 2, 5, 2), third[..., 0])
    state = torch.relu(state + layer.phis[1].bias[:, None])
    state = torch.einsum("bxyrp,sqyr->bxsqp", state, second)
    state = torch.relu(state + layer.phis[0].bias[:, None, None])
    expected = torch.einsum("bxsqp,oxs->boqp", state, first[0]).reshape(4, 12) + layer.bias
    assert torch.allclose(layer(x), expected, atol=1e-12)


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("placement", ["between", "convolution"])
@pytest.mark.parametrize("shape", [(12, 20), (6, 4, 3, 3)], ids=str)
def test_every_option_is_read_counted_and_trained(norm, activation, placement, shape):
    format, site = NTT(activation, norm, placement), site_of(shape)
    rank = tuple(min(2, high) for _, high in format.analyse(weight_of(shape)).frontier(site).allowed)
    layer = format.layer(site.layer, format.analyse(weight_of(shape)).decompose(rank))
    num_phis = sum(isinstance(module, Phi) for module in layer.modules())
    expected = {"between": len(rank), "convolution": 2 if len(shape) > 2 else 0}[placement]
    assert num_phis == expected
    num_params, macs = (int(number) for number in format.count(site, as_modes(rank)))
    assert num_params == sum(p.numel() for p in layer.parameters())
    assert macs == count_macs(layer, input_of(shape))
    x = torch.randn(8, *input_of(shape), dtype=torch.float64)
    layer(x).square().sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    if num_phis and norm == "batch":
        assert not torch.equal(layer.train()(x), layer.eval()(x)), "statistics of the batch and kept ones"
    if num_phis and norm == "layer":
        alone = torch.cat([layer(sample[None]) for sample in x])
        assert torch.allclose(layer(x), alone, atol=1e-10), "no sample sees another"


def test_images_without_a_batch_axis():
    format, dense = NTT(), layer_of((6, 4, 3, 3))
    layer = format.layer(dense, format.analyse(weight_of((6, 4, 3, 3))).decompose((1, 2, 3, 2, 2, 2)))
    x = torch.randn(4, 9, 8, dtype=torch.float64)
    assert torch.allclose(layer(x), layer(x[None])[0])
    assert isinstance(dense, nn.Conv2d)


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("shape", [(96, 64), (64, 64, 3, 3)], ids=str)
def test_every_activation_keeps_the_signal_from_scratch(activation, shape):
    format = NTT(activation, "layer" if activation == "identity" else "none")
    dense = layer_of(shape, **({"padding": 1, "padding_mode": "circular"} if len(shape) > 2 else {})).float()
    limits = format.train.analyse(dense.weight.detach()).frontier(site_of(shape)).allowed
    layer = format.layer(dense, format.zeros(dense.weight.detach(), tuple(min(12, high) for _, high in limits)))
    ratios = []
    for seed in range(40):
        torch.manual_seed(seed)
        layer.reset(1.0)
        x = torch.randn(8, *input_of(shape))
        with torch.no_grad():
            ratios.append(float(layer(x).square().mean() / x.square().mean()))
    assert torch.tensor(ratios).median() == pytest.approx(1.0, rel=0.5), "six contractions: a few starts are far off"
