"""Start a compressed network from scratch, with variances that keep the signal."""

from __future__ import annotations

from torch import nn

from decompositions.factored import Factored


def initialise(network: nn.Module, gain: float = 2**0.5) -> list[str]:
    """Fill the factors of every compressed layer of `network` anew, in place; return the names of these layers.

    Each contraction inside a layer keeps the signal's variance, the last multiplies it by `gain²` [HZRS15]: √2 before
    a ReLU, 1 before nothing. Inside a nonlinear tensor train the gain of its activation is added. Biases become 0.
    torch's generator is used: `torch.manual_seed` repeats.

    [HZRS15] He, Zhang, Ren & Sun, Delving deep into rectifiers, ICCV 2015.
    """
    names = []
    for name, layer in network.named_modules():
        if isinstance(layer, Factored):
            layer.reset(gain)
            names.append(name)
    return names
