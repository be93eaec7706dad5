"""Put a layer in the place of a dense one, where other code still finds what it knows of the dense one.

Networks read more of a layer than what its pass returns: its sizes, its weight, its bias. `nn.TransformerEncoderLayer`
even multiplies with the weights of its linear layers by itself, in evaluation mode, unless one of them has a hook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

# What a dense layer knows besides weight and bias.
ATTRIBUTES = (
    "in_features", "out_features", "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation",
    "groups", "padding_mode", "output_padding",
)  # fmt: skip


def take_place(network: nn.Module, name: str, layer: nn.Module) -> None:
    """Put `layer` in the place of the submodule `name`, with the attributes of what stood there."""
    dense = network.get_submodule(name)
    for attribute in ATTRIBUTES:
        if hasattr(dense, attribute) and not hasattr(layer, attribute):
            setattr(layer, attribute, getattr(dense, attribute))
    if isinstance(network.get_submodule(name.rpartition(".")[0]), nn.TransformerEncoderLayer):
        layer.register_forward_pre_hook(_called_for_itself)
    network.set_submodule(name, layer)
    stay_padded(network, name)


def take_places(network: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> None:
    """Put each replacement in all places of the module that is its key, in place."""
    for parent in list(network.modules()):
        for key, child in parent._modules.items():
            if child is not None and child in replacements:
                parent._modules[key] = replacements[child]


def stay_padded(network: nn.Module, name: str) -> None:
    """Keep the encoders around `name`, in place, from nested tensors, which torch's own kernels alone all take.

    What differs are outputs at padded positions: those of training mode, where nested tensors leave zeros.
    """
    parts = name.split(".")
    for depth in range(len(parts)):
        outer = network.get_submodule(".".join(parts[:depth]))
        if isinstance(outer, nn.TransformerEncoder):
            outer.use_nested_tensor = False


def _called_for_itself(layer: nn.Module, inputs: Any) -> None:
    """Do nothing: that it is there keeps the layer's own pass in use."""
