"""Sites. A site is one dense layer, linear or a convolution, that can be replaced by a compressed one.

It knows the layer's name in the network, its weight, and how often one sample passes through it: parameters and
multiply-adds depend on nothing else. `survey` finds the sites of a network and says why each other layer is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from decompositions.layers.geometry import CONVOLUTIONS, LAYER_TYPES, TRANSPOSED
from decompositions.layers.hooks import has_hooks
from decompositions.layers.unfuse import why_fused
from decompositions.layers.unfuse_attention import COMPUTED, why_fused_attention, window_attention
from evaluation.example import Example
from evaluation.trial import pass_sample

# Layers with a weight that multiplies, and no format.
OTHER_PRODUCTS = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.Bilinear,
)

# The sizes before and after one call of a layer on one sample: `(height, width)` of a convolution, the leading sizes
# (sequence length, …) of a linear layer, which are the same on both sides.
Call = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Site:
    """A dense layer that can be replaced: its `name` in the network, and the `calls` that one sample makes of it."""

    name: str
    layer: nn.Module
    calls: tuple[Call, ...]

    @property
    def weight(self) -> Tensor:
        """Return the dense weight, `(out, in)` or `(out, in, *kernel)`; transposed, that of the convolution."""
        assert isinstance(self.layer.weight, Tensor)
        return self.layer.weight

    @property
    def positions(self) -> int:
        """Count how often the weight is applied to one sample: positions of the output, summed over the calls."""
        return sum(math.prod(after) for _, after in self.calls)

    @property
    def num_bias(self) -> int:
        """Count the biases of the layer; every format keeps them."""
        return self.layer.bias.numel() if isinstance(self.layer.bias, Tensor) else 0

    @property
    def num_params(self) -> int:
        """Count the parameters of the dense layer, bias included."""
        return self.weight.numel() + self.num_bias

    @property
    def macs(self) -> int:
        """Count the multiply-adds of the dense layer for one sample."""
        return self.weight.numel() * self.positions


@dataclass(frozen=True)
class Survey:
    """The sites of a network by name, and for each other layer with a weight the reason why it stays dense."""

    sites: dict[str, Site]
    skipped: dict[str, str]


def survey(
    network: nn.Module,
    example: Example | Sequence[int],
    layers: Sequence[str] = ("*",),
    dtype: torch.dtype | None = None,
    *,
    grouped: bool = False,
    transposed: bool = False,
) -> Survey:
    """Find the linear and convolution layers whose names match one of the patterns `layers`.

    Sizes come from a pass of the first sample of `example`, or of one of such a shape, whose type is that of the
    parameters or `dtype` (see `evaluation.trial`). Grouped convolutions are sites only if `grouped` is true,
    transposed ones only if `transposed` is.
    Raises `ValueError` if a pattern matches no layer, or if the network cannot pass the sample.

    >>> found = survey(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2)), (3, 8, 8))
    >>> found.sites["0"].positions, found.sites["0"].macs
    (36, 7776)
    >>> found.skipped
    {'1': 'groups=2: no format represents a grouped convolution'}
    """
    kinds = (*LAYER_TYPES, *TRANSPOSED) if transposed else LAYER_TYPES
    names = [name for name, layer in network.named_modules() if isinstance(layer, kinds)]
    if not names:
        raise ValueError("the network has no linear or convolution layer to compress")
    for pattern in layers:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"layers: '{pattern}' matches no linear or convolution layer; there are {', '.join(names)}"
            )
    calls = _record_calls(network, Example.of(example, network, dtype))
    sites, skipped = {}, {}
    owners: dict[int, list[str]] = {}
    for name, layer in network.named_modules(remove_duplicate=False):
        for parameter in layer._parameters.values():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append(name)
    for name, layer in network.named_modules():
        if (reason := why_fused(layer)) is not None:
            skipped[name] = reason
        elif isinstance(layer, nn.LSTM | nn.GRU):
            skipped[name] = "not selected by layers"
        if isinstance(layer, TRANSPOSED):
            skipped[name] = "the format has no form of a transposed convolution"
        if isinstance(layer, OTHER_PRODUCTS):
            skipped[name] = f"no format represents {type(layer).__name__}"
        if isinstance(layer, nn.MultiheadAttention):
            skipped[name] = why_fused_attention(layer, network) or "not selected by layers"
        parent = network.get_submodule(name.rpartition(".")[0])
        if isinstance(parent, window_attention()) and layer in (parent.qkv, parent.proj):
            skipped[name] = why_fused_attention(parent, network) or "not selected by layers"
            continue
        if not isinstance(layer, kinds) or isinstance(parent, nn.MultiheadAttention):
            continue
        if not any(fnmatchcase(name, pattern) for pattern in layers):
            skipped[name] = "not selected by layers"
        elif is_computed(layer):
            skipped[name] = COMPUTED
        elif layer.bias is not None and "bias" not in layer._parameters:
            skipped[name] = "its bias is computed (pruning or another parametrization)"
        elif layer.weight.is_complex():
            skipped[name] = f"its weight is {layer.weight.dtype}; formats write real numbers"
        elif _has_own_pass(layer):
            skipped[name] = f"its class, {type(layer).__name__}, has a forward pass of its own"
        elif not grouped and getattr(layer, "groups", 1) > 1:
            skipped[name] = f"groups={layer.groups}: no format represents a grouped convolution"
        elif others := [other for other in owners[id(layer.weight)] if other != name]:
            skipped[name] = f"shares its weight with {', '.join(others)}"
        elif layer.bias is not None and (others := [other for other in owners[id(layer.bias)] if other != name]):
            skipped[name] = f"shares its bias with {', '.join(others)}"
        elif has_hooks(layer):
            skipped[name] = "it has hooks, which would be lost"
        elif name not in calls:
            skipped[name] = "never called in a forward pass"
        elif not calls[name]:
            skipped[name] = "it is called with output_size"
        else:
            skipped.pop(name, None)
            sites[name] = Site(name, layer, tuple(calls[name]))
    return Survey(sites, skipped)


def is_computed(layer: nn.Module) -> bool:
    """Return True if the weight is no parameter of the layer itself, so that assigning to it would have no effect."""
    return "weight" not in layer._parameters


def _has_own_pass(layer: nn.Module) -> bool:
    """Return True if a subclass computes something else than its parent, as weight standardisation does."""
    base: Any = next(kind for kind in (*LAYER_TYPES, *TRANSPOSED) if isinstance(layer, kind))
    return any(
        getattr(type(layer), name, None) is not getattr(base, name, None) for name in ("forward", "_conv_forward")
    )


def _record_calls(network: nn.Module, example: Example) -> dict[str, list[Call]]:
    """Return the calls of each layer in a pass of one sample."""
    calls: dict[str, list[Call]] = {}

    @contextmanager
    def watch(twin: nn.Module) -> Iterator[None]:
        calls.clear()
        layers = [
            (name, layer) for name, layer in twin.named_modules() if isinstance(layer, (*LAYER_TYPES, *TRANSPOSED))
        ]
        hooks = [layer.register_forward_hook(partial(_record, calls, name), with_kwargs=True) for name, layer in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    pass_sample(network, example, watch)
    return calls


def _record(
    calls: dict[str, list[Call]],
    name: str,
    layer: nn.Module,
    inputs: tuple[Any, ...],
    named: dict[str, Any],
    output: Tensor,
) -> None:
    if isinstance(layer, nn.Linear):
        # Without a batch axis of its own, as after a reshape, all leading sizes count.
        sizes = tuple(output.shape[:-1])
        calls.setdefault(name, []).append((sizes, sizes))
    else:
        assert isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED))
        num = len(layer.kernel_size)
        samples = math.prod(output.shape[: -num - 1])
        x = inputs[0] if inputs else named["input"]
        call = (tuple(x.shape[-num:]), tuple(output.shape[-num:]))
        if isinstance(layer, TRANSPOSED):  # that of the convolution whose adjoint it is
            call = call[::-1]
            samples = 0 if len(inputs) > 1 or named.get("output_size") is not None else samples
        calls.setdefault(name, []).extend([call] * samples)


def dense_sites(network: nn.Module, input_shape: Example | Sequence[int], layers: Sequence[str]) -> Survey:
    """Find the sites for methods without a format (pruning, quantisation), grouped convolutions among them.

    `layers` are name patterns. Raises `ValueError` if there is no site.
    """
    found = survey(network, input_shape, layers, grouped=True)
    # A survey expects recurrent layers and attention to be unfused, which only formats need.
    fused = {}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.RNNBase):
            fused[name] = "recurrent layers stay as they are"
        elif isinstance(layer, nn.MultiheadAttention):
            fused[name] = "attention stays as it is"
        elif isinstance(layer, window_attention()):
            fused |= dict.fromkeys([f"{name}.qkv", f"{name}.proj"], "attention stays as it is")
    found = replace(found, skipped=found.skipped | fused)
    if not found.sites:
        raise ValueError(f"the network has no layer to compress ({listed(found.skipped)})")
    return found


def listed(reasons: dict[str, str]) -> str:
    """Join the reasons of all layers in one line."""
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
