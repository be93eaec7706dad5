"""Sites. A site is one dense layer, linear or a convolution, that can be replaced by a compressed one.

It knows the layer's name in the network, its weight, and how often one sample passes through it: parameters and
multiply-adds depend on nothing else. `survey` finds the sites of a network and says why each other layer is none.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from decompositions.layers.geometry import LAYER_TYPES
from decompositions.layers.recurrent import HOOKS
from decompositions.layers.unfuse import why_fused
from runtime.messages import first_line

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
        """Return the dense weight, `(out, in)` or `(out, in, *kernel)`."""
        assert isinstance(self.layer.weight, Tensor)
        return self.layer.weight

    @property
    def positions(self) -> int:
        """Count how often the weight is applied to one sample: positions of the output, summed over the calls."""
        return sum(math.prod(after) for _, after in self.calls)

    @property
    def num_bias(self) -> int:
        """Count the biases of the layer; every format keeps them."""
        return 0 if self.layer.bias is None else self.weight.shape[0]

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
    input_shape: Sequence[int],
    layers: Sequence[str] = ("*",),
    dtype: torch.dtype | None = None,
    *,
    grouped: bool = False,
) -> Survey:
    """Find the linear and convolution layers whose names match one of the patterns `layers`.

    Sizes come from one pass of a `(1, *input_shape)` batch on the meta device: nothing is computed. Its type is that of
    the parameters, or `dtype`. Grouped convolutions are sites only if `grouped` is true.
    Raises `ValueError` if a pattern matches no layer, or if the network cannot pass such a batch.

    >>> found = survey(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2)), (3, 8, 8))
    >>> found.sites["0"].positions, found.sites["0"].macs
    (36, 7776)
    >>> found.skipped
    {'1': 'groups=2: no format represents a grouped convolution'}
    """
    names = [name for name, layer in network.named_modules() if isinstance(layer, LAYER_TYPES)]
    if not names:
        raise ValueError("the network has no linear or convolution layer to compress")
    for pattern in layers:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"layers: '{pattern}' matches no linear or convolution layer; there are {', '.join(names)}"
            )
    calls = _record_calls(network, input_shape, dtype)
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
        if not isinstance(layer, LAYER_TYPES):
            continue
        if not any(fnmatchcase(name, pattern) for pattern in layers):
            skipped[name] = "not selected by layers"
        elif is_computed(layer):
            skipped[name] = "its weight is computed (weight_norm, spectral_norm or another parametrization)"
        elif _has_own_pass(layer):
            skipped[name] = f"its class, {type(layer).__name__}, has a forward pass of its own"
        elif not grouped and getattr(layer, "groups", 1) > 1:
            skipped[name] = f"groups={layer.groups}: no format represents a grouped convolution"
        elif others := [other for other in owners[id(layer.weight)] if other != name]:
            skipped[name] = f"shares its weight with {', '.join(others)}"
        elif layer.bias is not None and (others := [other for other in owners[id(layer.bias)] if other != name]):
            skipped[name] = f"shares its bias with {', '.join(others)}"
        elif any(getattr(layer, hooks) for hooks in HOOKS):
            skipped[name] = "it has hooks, which would be lost"
        elif name not in calls:
            skipped[name] = "not used in a forward pass"
        else:
            sites[name] = Site(name, layer, tuple(calls[name]))
    return Survey(sites, skipped)


def is_computed(layer: nn.Module) -> bool:
    """Return True if the weight is no parameter of the layer itself, so that assigning to it would have no effect."""
    return "weight" not in layer._parameters


def _has_own_pass(layer: nn.Module) -> bool:
    """Return True if a subclass computes something else than its parent, as weight standardisation does."""
    base: Any = next(kind for kind in LAYER_TYPES if isinstance(layer, kind))
    return any(
        getattr(type(layer), name, None) is not getattr(base, name, None) for name in ("forward", "_conv_forward")
    )


def on_meta(
    network: nn.Module,
    input_shape: Sequence[int],
    dtype: torch.dtype | None,
    prepare: Callable[[nn.Module], None] = lambda twin: None,
) -> None:
    """Pass one sample through a copy of `network`, in evaluation mode on the meta device, after `prepare(copy)`."""
    twin = copy.deepcopy(network).to("meta").eval()
    prepare(twin)
    dtype = dtype or next((p.dtype for p in network.parameters()), None)
    try:
        with torch.no_grad():
            twin(torch.empty(1, *input_shape, device="meta", dtype=dtype))
    except (RuntimeError, NotImplementedError) as error:  # torch raises either where an operation has no meta kernel
        raise ValueError(
            f"the network cannot pass a sample of {tuple(input_shape)} on torch's meta device, which is how sizes are "
            f"found (it may make tensors on a fixed device, or decide by values): {first_line(error)}"
        ) from error


def _record_calls(network: nn.Module, input_shape: Sequence[int], dtype: torch.dtype | None) -> dict[str, list[Call]]:
    """Return the calls of each layer in a pass of one sample."""
    calls: dict[str, list[Call]] = {}
    on_meta(network, input_shape, dtype, partial(_record_into, calls))
    return calls


def _record_into(calls: dict[str, list[Call]], twin: nn.Module) -> None:
    for name, layer in twin.named_modules():
        if isinstance(layer, LAYER_TYPES):
            layer.register_forward_hook(partial(_record, calls, name))


def _record(
    calls: dict[str, list[Call]], name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
) -> None:
    if isinstance(layer, nn.Linear):
        # Without a batch axis of its own, as after a reshape, all leading sizes count.
        sizes = tuple(output.shape[:-1])
        calls.setdefault(name, []).append((sizes, sizes))
    else:
        assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        num = len(layer.kernel_size)
        samples = math.prod(output.shape[: -num - 1])
        call = (tuple(inputs[0].shape[-num:]), tuple(output.shape[-num:]))
        calls.setdefault(name, []).extend([call] * samples)


def dense_sites(network: nn.Module, input_shape: Sequence[int], layers: Sequence[str]) -> Survey:
    """Find the sites for methods without a format (pruning, quantisation), grouped convolutions among them.

    `layers` are name patterns. Raises `ValueError` if there is no site.
    """
    found = survey(network, input_shape, layers, grouped=True)
    # A survey expects recurrent layers to be unfused, which only formats need.
    recurrent = [name for name, layer in network.named_modules() if isinstance(layer, nn.RNNBase)]
    found = replace(found, skipped=found.skipped | dict.fromkeys(recurrent, "recurrent layers stay as they are"))
    if not found.sites:
        raise ValueError(f"the network has no layer to compress ({listed(found.skipped)})")
    return found


def listed(reasons: dict[str, str]) -> str:
    """Join the reasons of all layers in one line."""
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
