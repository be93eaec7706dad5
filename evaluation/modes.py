"""Use a network and leave it as it was: its modes, its buffers; and where it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Keep the network in evaluation mode inside the block; each module then has the mode that it had before."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def keeping_buffers(network: nn.Module) -> Iterator[None]:
    """Give all buffers, at the end of the block, the values that they had before: a pass may change them."""
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, values in kept:
                buffer.copy_(values)


def device_of(network: nn.Module) -> torch.device:
    """Return the device of the first parameter or buffer, the CPU if there is none."""
    return next((t.device for t in chain(network.parameters(), network.buffers())), torch.device("cpu"))
