"""Merge compressed layers back into dense ones if these are faster: factors save memory, but not always time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from decompositions.layers.base import Factored, is_inside
from decompositions.layers.recurrent import UnfusedGRU, UnfusedLSTM
from evaluation.example import Example
from evaluation.latency import measure_latency_ms
from evaluation.modes import evaluating, keeping_buffers
from runtime.copies import copy_network


@dataclass(frozen=True)
class Merge:
    """The decision about one compressed layer: the milliseconds of its passes as factors and merged, and the choice.

    A layer that cannot be merged has a `reason` and no times.
    """

    name: str
    factored_ms: float | None
    dense_ms: float | None
    merged: bool
    reason: str | None = None

    def __str__(self) -> str:
        """Say in one line which form was faster, or why the layer was kept."""
        if self.reason is not None or self.factored_ms is None or self.dense_ms is None:
            return f"{self.name}: kept, {self.reason}"
        verdict = "merged" if self.merged else "kept"
        return f"{self.name}: {verdict}, {self.factored_ms:.4g} ms as factors, {self.dense_ms:.4g} ms merged"


def materialize(
    network: nn.Module, example_input: Tensor | tuple[Any, ...] | dict[str, Any]
) -> tuple[nn.Module, list[Merge]]:
    """Return a copy of `network` whose compressed layers are dense if that is faster, and the decision about each.

    Every layer that equals a dense one (it has `to_dense`) is timed against it, in turns, on random inputs of the same
    shapes as in a pass of `example_input` `(batch, …)`, a tensor, a tuple of arguments or a dict of named ones: take
    the batch size and device of later use.
    Nonlinear layers are kept. A merged layer has as many parameters as before compression.
    Raises `ValueError` if the network is itself a compressed layer.
    """
    if isinstance(network, Factored):
        raise ValueError("materialize: the network is itself a compressed layer; put it into an nn.Sequential")
    network = copy_network(network)
    found = {name: layer for name, layer in network.named_modules() if isinstance(layer, Factored)}
    shapes = _input_shapes(network, found, Example.of(example_input, network))
    merges: list[Merge] = []
    for name, layer in found.items():
        if is_inside(name, [merge.name for merge in merges if merge.merged]):
            continue
        if not callable(to_dense := getattr(layer, "to_dense", None)):
            merges.append(Merge(name, None, None, False, "nonlinear, or of rank 0: no dense layer equals it"))
            continue
        if isinstance(network.get_submodule(name.rpartition(".")[0]), UnfusedLSTM | UnfusedGRU):
            merges.append(Merge(name, None, None, False, "part of a recurrent layer, whose parts are not timed alone"))
            continue
        if not shapes[name]:
            merges.append(Merge(name, None, None, False, "not used in this pass"))
            continue
        try:
            dense = to_dense().train(layer.training)
        except ValueError as error:
            merges.append(Merge(name, None, None, False, str(error)))
            continue
        factored_ms = dense_ms = 0.0
        for (shape, dtype, device), times in shapes[name].items():
            batch = torch.randn(shape, dtype=dtype, device=device)
            pair = measure_latency_ms([layer, dense], batch)
            factored_ms, dense_ms = factored_ms + times * pair[0], dense_ms + times * pair[1]
        if dense_ms < factored_ms:
            network.set_submodule(name, dense)
        merges.append(Merge(name, factored_ms, dense_ms, dense_ms < factored_ms))
    return network, merges


Input = tuple[torch.Size, torch.dtype, torch.device]


def _about(x: Tensor) -> Input:
    return x.shape, x.dtype, x.device


def _input_shapes(network: nn.Module, layers: Mapping[str, nn.Module], example: Example) -> dict[str, Counter[Input]]:
    """Return the kinds of input that each layer gets in one pass in evaluation mode, and how often each."""
    shapes: dict[str, Counter[Input]] = {name: Counter() for name in layers}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: shapes[name].update([_about(*args, *kwargs.values())]), with_kwargs=True
        )
        for name, layer in layers.items()
    ]
    try:
        with torch.no_grad(), evaluating(network), keeping_buffers(network):
            example(network)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes
