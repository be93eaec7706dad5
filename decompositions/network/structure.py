"""Put compressed layers in the place of dense ones, and describe the result so that it can be built again."""

from __future__ import annotations

import copy
import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from decompositions.core.format import Factors, Format
from decompositions.core.frontier import Rank
from decompositions.layers.unfuse import unfuse_recurrent

# Plain data: {layer name: {"format": dotted path, "options": {...}, "rank": int | list[int]}}, {"opened": True} for a
# recurrent layer whose weights were made layers of their own, and {"rebuild": dotted path, "arguments": {...}} for a
# layer of another kind: the function takes the dense layer and returns one with the same state to load.
Structure = dict[str, dict[str, Any]]


def replace_layers(network: nn.Module, format: Format, factors: Mapping[str, Factors]) -> nn.Module:
    """Return a copy of `network` in which each layer named in `factors` is the format's layer with these factors."""
    network = copy.deepcopy(network)
    for name, layer_factors in factors.items():
        dense = network.get_submodule(name)
        layer = format.layer(dense, layer_factors).train(dense.training)
        network.set_submodule(name, layer.requires_grad_(dense.get_parameter("weight").requires_grad))
    return network


def describe(format: Format, ranks: Mapping[str, Rank | None], opened: Sequence[str] = ()) -> Structure:
    """The structure of a network compressed at `ranks`, as plain data; dense layers are left out.

    `opened` names the recurrent layers that were opened to reach their weights.
    """
    kind = type(format)
    options = dataclasses.asdict(format)  # type: ignore[call-overload]
    entry = {"format": f"{kind.__module__}.{kind.__qualname__}", "options": options}
    layers = {name: {**entry, "rank": rank} for name, rank in ranks.items() if rank is not None}
    return {name: {"opened": True} for name in opened} | layers


def restore(network: nn.Module, structure: Structure) -> nn.Module:
    """Give a dense `network` the `structure` of a compressed one, with zero factors to load a state into."""
    opened = {name for name, entry in structure.items() if entry.get("opened")}
    unfuse_recurrent(network, lambda child: child.rpartition(".")[0] in opened)
    for name, entry in structure.items():
        if entry.get("opened"):
            continue
        dense = network.get_submodule(name)
        if "rebuild" in entry:
            network.set_submodule(name, _named(entry["rebuild"])(dense, **entry["arguments"]))
            continue
        format = _named(entry["format"])(**entry["options"])
        rank = tuple(entry["rank"]) if isinstance(entry["rank"], list) else entry["rank"]
        assert isinstance(dense.weight, torch.Tensor)
        network.set_submodule(name, format.layer(dense, format.zeros(dense.weight.detach(), rank)))
    return network


def _named(path: str) -> Any:
    """What a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
