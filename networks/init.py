"""Initialise layers before ReLU: weights of variance 2 / fan-in, which keeps the signal's scale, zero biases [He15].

[He15] He, Zhang, Ren & Sun, Delving deep into rectifiers, ICCV 2015.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def start(network: Network) -> Network:
    """Draw the weights of all linear and convolution layers anew, in their order, in place; return the network."""
    for layer in network.modules():
        if isinstance(layer, LAYERS):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
