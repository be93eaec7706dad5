"""Fully connected networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def mlp(
    input_shape: Sequence[int],
    num_classes: int,
    hidden: list[Annotated[int, Ge(1)]],
    activation: Literal["relu", "tanh"] = "relu",
) -> nn.Sequential:
    """Build a perceptron with the widths `hidden`, from `(batch, *input_shape)` to `(batch, num_classes)`.

    Layers are called `fc1`, `fc2`, …. Weights start at Xavier's variance for tanh and at He's for ReLU, biases at zero.
    """
    widths = [math.prod(input_shape), *hidden, num_classes]
    network = nn.Sequential(nn.Flatten())
    for index, (width, next_width) in enumerate(pairwise(widths), start=1):
        layer = nn.Linear(width, next_width)
        if activation == "tanh":
            nn.init.xavier_uniform_(layer.weight)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        network.add_module(f"fc{index}", layer)
        if index < len(widths) - 1:
            network.add_module(f"activation{index}", ACTIVATIONS[activation]())
    return network
