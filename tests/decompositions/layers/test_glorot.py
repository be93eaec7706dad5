"""Glorot's variance in factors, core by core and over a layer, and in the method that starts from them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decompositions.layers.base import initialise
from decompositions.layers.glorot import glorot
from decompositions.svd import SVD
from decompositions.tt import TT


def tt_layer(dense, ranks, **options):
    format = TT(**options)
    return format.layer(dense, format.zeros(dense.weight.detach(), ranks))


def test_each_core_has_the_variance_of_its_two_fans():
    """A core (r_{k−1}, m, n, r_k) of [GPNV16] is a matrix of r_{k−1} n columns and m r_k rows."""
    torch.manual_seed(0)
    layer = tt_layer(nn.Linear(4096, 4096), (16, 12), modes={"4096": [16, 16, 16]})
    glorot(layer, "cores")
    fans = [(1 * 16, 16 * 16), (16 * 16, 16 * 12), (12 * 16, 16 * 1)]
    for core, (before, after) in zip(layer.cores, fans, strict=True):
        assert float(core.detach().square().mean()) == pytest.approx(2 / (before + after), rel=0.1)


def test_all_numbers_of_a_layer_have_one_variance():
    """[YKT17]'s train on frames: 3,360 numbers in one vector, uniform within √(3/√3360), as Keras draws it."""
    torch.manual_seed(0)
    with torch.device("meta"):
        dense = nn.Linear(57_600, 1024)
    layer = tt_layer(dense, (4, 4, 4), modes={"57600": [8, 20, 20, 18], "1024": [16, 4, 4, 4]}).to_empty(device="cpu")
    initialise(nn.Sequential(layer))
    glorot(layer, "layer")
    numbers = torch.cat([core.flatten() for core in layer.cores]).detach()
    limit = (3 / 3360**0.5) ** 0.5
    assert len(numbers) == 3_360
    assert 0.99 * limit < numbers.abs().max() <= limit
    assert float(numbers.square().mean()) == pytest.approx(3360**-0.5, rel=0.05)
    assert not layer.bias.any(), "biases stay"


@pytest.mark.parametrize("over", ["cores", "layer"])
@pytest.mark.parametrize("kernel", ["middle", "first", "svd"])
def test_gain_multiplies_the_output_of_any_layer(over, kernel):
    dense = nn.Conv2d(8, 8, 3, padding=1)
    if kernel == "svd":
        layer = SVD().layer(dense, SVD().zeros(dense.weight.detach(), 4))
    else:
        ranks = (2, 4, 4, 2) if kernel == "middle" else (4, 4)
        layer = tt_layer(dense, ranks, modes={"8": [2, 4]}, kernel=kernel)
    outputs = []
    for gain in (1.0, 3.0):
        torch.manual_seed(1)
        initialise(nn.Sequential(layer))
        glorot(layer, over, gain)
        outputs.append(layer(torch.ones(2, 8, 5, 5)).detach())
    assert outputs[0].abs().max() > 0
    assert torch.allclose(outputs[1], 3 * outputs[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("start", "variance"),
    [("glorot_cores", 2 / 20 * 2 / 32 * 2 / 20), ("glorot_layer", 384**-1.5), ("variance", 1 / (16 * 64))],
)
def test_the_method_starts_from_them(start, variance):
    """A number of the dense weight is a sum over 16 = 4 · 4 paths through the three cores, which have 384 numbers."""
    from decompositions.rank_search.fixed import Fixed
    from lightning_modules.scratch import Scratch

    squares = []
    for seed in range(40):  # the product of few random numbers is far from its mean
        torch.manual_seed(seed)
        network = nn.Sequential(tt_layer(nn.Linear(64, 64), (4, 4)))
        Scratch(TT(), Fixed(4), gain=1.5, start=start)._start(network)
        squares.append(float(network[0].to_dense().weight.detach().square().mean()))
    assert sum(squares) / len(squares) == pytest.approx(1.5**2 * 16 * variance, rel=0.1)
