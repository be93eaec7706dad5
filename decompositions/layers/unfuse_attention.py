"""Unfuse the attention of a network: give its weights layers that are called (see `layers.attention`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from decompositions.layers.attention import UnfusedAttention
from decompositions.layers.hooks import has_hooks
from decompositions.layers.stand_in import stay_padded, take_places
from decompositions.layers.window_attention import UnfusedWindowAttention

PARAMETERS = ("in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight", "bias_k", "bias_v")

PARTS = {*PARAMETERS, "out_proj"}
WINDOW_PARTS = {
    "qkv", "proj", "cpb_mlp", "relative_position_bias_table", "logit_scale", "relative_position_index",
    "relative_coords_table",
}  # fmt: skip
COMPUTED = "its weight is computed (weight_norm, spectral_norm or another parametrization)"

# Whether q, k and v of an attention are layers of their own, or one.
Kind = Literal["separate", "joint"]


def window_attention() -> tuple[type[nn.Module], ...]:
    """Return torchvision's classes of window attention, none while nothing has imported them: torch does without."""
    module = sys.modules.get("torchvision.models.swin_transformer")
    return () if module is None else (module.ShiftedWindowAttention, module.ShiftedWindowAttentionV2)


def is_attention(layer: nn.Module) -> bool:
    """Return True for the classes whose weights can be given layers, and their subclasses."""
    return isinstance(layer, (nn.MultiheadAttention, window_attention()))


def why_fused_attention(layer: nn.Module, network: nn.Module) -> str | None:
    """Return the reason why an attention of `network` stays fused; None if it can be unfused or is no attention."""
    if not is_attention(layer):
        return None
    is_window = not isinstance(layer, nn.MultiheadAttention)
    if not _computes_as(layer, window_attention() if is_window else (nn.MultiheadAttention,)):
        return f"its class, {type(layer).__name__}, has a forward pass of its own"
    linear = [layer.get_submodule(name) for name in (("qkv", "proj") if is_window else ("out_proj",))]
    weights = [(each, name) for each in linear for name in ("weight", "bias")]
    if not is_window:
        weights += [(layer, name) for name in PARAMETERS]
    if any(name not in owner._parameters and getattr(owner, name, None) is not None for owner, name in weights):
        return COMPUTED
    if any(not isinstance(each, nn.Linear) or type(each).forward is not nn.Linear.forward for each in linear):
        return "its layers are no plain linear layers"
    if not {*layer._modules, *layer._parameters, *layer._buffers} <= (WINDOW_PARTS if is_window else PARTS):
        return f"its class, {type(layer).__name__}, holds more than attention does"
    if isinstance(layer, nn.MultiheadAttention) and (layer.bias_k is not None or layer.add_zero_attn):
        option = "add_zero_attn" if layer.add_zero_attn else "add_bias_kv"
        return f"{option}: it has keys and values that its input has not"
    if has_hooks(layer):
        return "it has hooks, which would be lost"
    if others := _sharing(layer, network):
        return f"shares its weight with {', '.join(others)}"
    return None


def unfuse_attention(
    network: nn.Module, wanted: Callable[[str], bool] = lambda child: True, joint_qkv: bool = False
) -> dict[str, Kind]:
    """Replace attention layers of `network`, in place, by unfused ones; return their names, and how each is unfused.

    A layer is replaced if `wanted` is true for the full name of one of its children (`attention.q`), before or after.
    `joint_qkv` keeps q, k and v one layer where their inputs have one size. A layer used under several names stays one.
    Raises `ValueError` if the network itself is such a layer: there is no parent in which to replace it.

    >>> network = nn.Sequential(nn.MultiheadAttention(4, 2))
    >>> unfuse_attention(network)
    {'0': 'separate'}
    >>> [name for name, _ in network[0].named_children()]
    ['q', 'k', 'v', 'out_proj']
    """
    unfused: dict[nn.Module, nn.Module] = {}
    kinds: dict[str, Kind] = {}
    for name, layer in network.named_modules():
        if not is_attention(layer) or why_fused_attention(layer, network) is not None:
            continue
        if layer is network:
            raise ValueError(f"the network is itself an {type(layer).__name__}: put it into a module that calls it")
        kind: Any = UnfusedAttention if isinstance(layer, nn.MultiheadAttention) else UnfusedWindowAttention
        replacement = kind(layer, joint_qkv)
        children = [child for child, _ in (*replacement.named_children(), *layer.named_children())]
        if any(wanted(f"{name}.{child}") for child in children):
            unfused[layer] = replacement
            kinds[name] = "joint" if replacement.joint_qkv else "separate"
    take_places(network, unfused)
    for name in kinds:
        stay_padded(network, name)
    return kinds


def _computes_as(layer: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Return True if a layer computes what one of `kinds` does: a subclass may start its weights otherwise."""
    methods = ("forward", "get_relative_position_bias")
    return not set(methods) & set(vars(layer)) and any(
        all(getattr(type(layer), name, None) is getattr(kind, name, None) for name in methods) for kind in kinds
    )


def _sharing(layer: nn.Module, network: nn.Module) -> list[str]:
    """Name the modules outside `layer` that hold one of its parameters: cut in three, it would be shared no longer."""
    own = {id(parameter) for parameter in layer.parameters()}
    modules = list(network.named_modules(remove_duplicate=False))
    inside = [name and f"{name}." for name, module in modules if module is layer]  # all where it is the network
    return [
        name
        for name, module in modules
        if any(id(parameter) in own for parameter in module._parameters.values())
        and not any(f"{name}.".startswith(prefix) for prefix in inside)
    ]
