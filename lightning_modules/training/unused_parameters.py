"""Find out whether every parameter of a network gets a gradient: before a layer of rank 0 none does.

Processes that train together average the gradients of all parameters; unless they are told, they wait for those that
never come.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call


def has_unused_parameters(network: nn.Module, input_shape: Sequence[int]) -> bool:
    """Return True if the outputs of `network` in training do not depend on one of its parameters.

    Neither its buffers nor the random numbers change.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    device = parameters[0].device if parameters else torch.device("cpu")
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    was_training = network.training
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
            samples = torch.zeros(2, *input_shape, device=device)  # two: batch norms take no single one
            outputs = functional_call(network.train(), buffers, (samples,))
        if not outputs.requires_grad:
            return bool(parameters)
        return None in torch.autograd.grad(outputs.sum(), parameters, allow_unused=True)
    finally:
        network.train(was_training)
