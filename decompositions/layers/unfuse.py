"""Unfuse the recurrent layers and the attention of a network: give their weights layers of their own.

See `layers.recurrent` and `layers.attention`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

from decompositions.layers.hooks import has_hooks
from decompositions.layers.recurrent import UnfusedGRU, UnfusedLSTM
from decompositions.layers.stand_in import take_places
from decompositions.layers.unfuse_attention import COMPUTED, unfuse_attention

# What was unfused: a recurrent layer, or attention whose q, k and v are layers of their own, or one.
Kind = Literal["recurrent", "separate", "joint"]


def unfuse(
    network: nn.Module, wanted: Callable[[str], bool] = lambda child: True, joint_qkv: bool = False
) -> dict[str, Kind]:
    """Do what `unfuse_recurrent` and `unfuse_attention` do; return the names of the layers and their kinds."""
    kinds: dict[str, Kind] = dict.fromkeys(unfuse_recurrent(network, wanted), "recurrent")
    return kinds | unfuse_attention(network, wanted, joint_qkv)


def why_fused(layer: nn.Module) -> str | None:
    """Return the reason why a recurrent layer stays fused; None if it can be unfused or is not recurrent."""
    if not isinstance(layer, nn.LSTM | nn.GRU):
        others = (nn.RNNBase, nn.RNNCellBase)
        return "recurrent layers other than nn.LSTM and nn.GRU are not unfused" if isinstance(layer, others) else None
    base: type[nn.Module] = nn.LSTM if isinstance(layer, nn.LSTM) else nn.GRU
    if type(layer).forward is not base.forward or "forward" in vars(layer):
        return f"its class, {type(layer).__name__}, has a forward pass of its own"
    names = layer._flat_weights_names
    if any(name not in layer._parameters for name in names):
        return COMPUTED
    if layer._modules or layer._buffers or len(layer._parameters) != len(names):
        return f"its class, {type(layer).__name__}, holds more than the weights of a recurrent layer"
    if has_hooks(layer):
        return "it has hooks, which would be lost"
    return None


def unfuse_recurrent(network: nn.Module, wanted: Callable[[str], bool] = lambda child: True) -> list[str]:
    """Replace LSTMs and GRUs of `network`, in place, by unfused ones; return their names.

    A layer is replaced if `wanted` is true for the full name of one of its children (`rnn.ih_l0`). A layer used under
    several names stays one layer, named as in `named_modules`.
    Raises `ValueError` if the network itself is such a layer: there is no parent in which to replace it.

    >>> network = nn.Sequential(nn.LSTM(4, 3))
    >>> unfuse_recurrent(network)
    ['0']
    >>> [name for name, _ in network[0].named_children()]
    ['ih_l0', 'hh_l0']
    """
    unfused: dict[nn.Module, nn.Module] = {}
    names = []
    for name, layer in network.named_modules():
        if isinstance(layer, nn.LSTM | nn.GRU) and why_fused(layer) is None:
            if layer is network:
                raise ValueError(f"the network is itself an {layer.mode}: put it into an nn.Sequential")
            replacement = UnfusedLSTM(layer) if isinstance(layer, nn.LSTM) else UnfusedGRU(layer)
            if any(wanted(f"{name}.{child}") for child, _ in replacement.named_children()):
                unfused[layer] = replacement
                names.append(name)
    take_places(network, unfused)
    return names
