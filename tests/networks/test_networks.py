"""Published counts, shapes, and inputs that do not fit."""

from __future__ import annotations

import pytest
import torch

from networks.lenet import lenet5, lenet300
from networks.mlp import mlp


@pytest.mark.parametrize(
    ("make", "num_params"), [(lenet300, 266_610), (lenet5, 431_080), (lambda *a: mlp(*a, hidden=[256, 128]), 235_146)]
)
def test_published_parameter_counts_and_output_shape(make, num_params):
    network = make([1, 28, 28], 10)
    assert sum(p.numel() for p in network.parameters()) == num_params
    assert network(torch.randn(3, 1, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize(("activation", "gain"), [("relu", 1.0), ("tanh", 0.3)])
def test_initialisation_keeps_the_signal(activation, gain):
    """With ReLU and He's variance the scale of the last hidden layer is that of the first; tanh shrinks it a little."""
    torch.manual_seed(0)
    network = mlp([400], 10, hidden=[400] * 6, activation=activation)
    x = torch.randn(500, 400)
    out = network[:-1](x)
    scale = float(out.square().mean().sqrt())
    assert gain * 0.5 < scale < gain * 2


def test_mlp_of_no_hidden_layer_is_linear_and_dropout_is_an_option():
    assert sum(p.numel() for p in mlp([2, 3], 4, hidden=[]).parameters()) == 6 * 4 + 4
    assert lenet5([3, 32, 32], 7, dropout=0.25).dropout.p == 0.25
    assert lenet5([3, 32, 32], 7)(torch.randn(2, 3, 32, 32)).shape == (2, 7)


def test_too_small_images_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match="at least 16×16 pixels, got 8×8; take dataset=mnist or network=mlp"):
        lenet5([1, 8, 8], 10)
    assert lenet5([1, 16, 16], 10)(torch.randn(2, 1, 16, 16)).shape == (2, 10)
