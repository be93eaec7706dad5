"""Copies of networks."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

Module = TypeVar("Module", bound=nn.Module)


def copy_network(network: Module) -> Module:
    """Return a deep copy of a network.

    Tensors that a pass has computed and left at a module, as older kinds of weight_norm, spectral_norm and pruning do,
    have a history that cannot be copied: the copy gets their values, and its next pass computes them anew.
    """
    memo: dict[int, Any] = {}  # what has no shape yet cannot be copied either: each is made anew
    for tensor in (*network.parameters(), *network.buffers()):
        if isinstance(tensor, UninitializedBuffer):
            memo[id(tensor)] = UninitializedBuffer(device=tensor.device, dtype=tensor.dtype)  # type: ignore[call-arg]
    computed: list[tuple[dict[str, Any], str, Tensor]] = []
    for module in network.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                computed.append((vars(module), name, value))
    try:
        for place, name, value in computed:
            place[name] = value.detach()
        return copy.deepcopy(network, memo)
    finally:
        for place, name, value in computed:
            place[name] = value
