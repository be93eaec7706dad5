"""The functions between the contractions of a nonlinear tensor train, each against torch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from decompositions.layers.ntt import Between, Phi

FUNCTIONS = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "identity": lambda x: x,
}


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_what_stands_on_a_bond(activation, norm):
    """`activation(norm(x) + bias)`, each against torch's function."""
    torch.manual_seed(0)
    x, bias = torch.randn(5, 3, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    over = {"none": None, "batch": (0, 2), "layer": (1, 2)}[norm]
    normed = x
    if over is not None:
        normed = (x - x.mean(over, keepdim=True)) / (x.var(over, unbiased=False, keepdim=True) + 1e-5).sqrt()
    expected = FUNCTIONS[activation](normed + bias[:, None])
    assert torch.allclose(Phi(Between(activation, norm), bias)(x.clone()), expected, atol=1e-12)
