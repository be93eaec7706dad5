"""Put compressed layers in the place of dense ones, and describe the result so that it can be built again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from decompositions.core.format import Factors, Format
from decompositions.core.frontier import Rank
from decompositions.core.transposed import layer_in_place_of
from decompositions.layers.geometry import with_bias
from decompositions.layers.stand_in import take_place
from decompositions.layers.unfuse import Kind, unfuse_recurrent
from decompositions.layers.unfuse_attention import unfuse_attention
from runtime.copies import copy_network
from runtime.imports import import_named

# Plain data, one entry for each replaced layer, by its name:
#   {"format": dotted path, "options": {...}, "rank": int | list[int]}   the layer of a format at this rank;
#   {"opened": True}                                                     an unfused LSTM or GRU (the key stays as it
#                                                                        was: files of earlier releases have it);
#   {"opened": "separate" | "joint"}                                     unfused attention: its q, k and v;
#   {"rebuild": dotted path, "arguments": {...}}                         what this function makes of the dense layer.
Structure = dict[str, dict[str, Any]]

# Dotted paths in files that earlier releases wrote, and the paths of today. Files outlive names: this stays.
FORMER_PATHS = {"decompositions.int8_layers.int8_layer": "decompositions.layers.int8.int8_layer"}
# Where a structure may find its functions, and its formats: there are classes and functions elsewhere that do more.
FUNCTIONS, FORMATS = "decompositions.layers", "decompositions"


def replace_layers(
    network: nn.Module,
    format: Format,
    factors: Mapping[str, Factors],
    biases: Mapping[str, torch.Tensor] = {},
) -> nn.Module:
    """Return a copy of `network` in which each layer named in `factors` is the format's layer with these factors.

    `biases` replace those of the layers that they name.
    """
    network = copy_network(network)
    for name, layer_factors in factors.items():
        dense = network.get_submodule(name)
        dense = with_bias(dense, biases[name]) if name in biases else dense
        layer = layer_in_place_of(format, dense, layer_factors).train(dense.training)
        take_place(network, name, layer.requires_grad_(dense.get_parameter("weight").requires_grad))
    return network


def describe(format: Format, ranks: Mapping[str, Rank | None], unfused: Mapping[str, Kind] = {}) -> Structure:
    """Return the structure of a network compressed at `ranks`, as plain data; dense layers (None) are left out.

    `unfused` names the recurrent and attention layers that were unfused to reach their weights, and says how.

    >>> from decompositions.svd import SVD
    >>> describe(SVD(), {"fc1": 8, "fc2": None})
    {'fc1': {'format': 'decompositions.svd.SVD', 'options': {}, 'rank': 8}}
    """
    kind = type(format)
    options = dataclasses.asdict(format)  # type: ignore[call-overload]
    entry = {"format": f"{kind.__module__}.{kind.__qualname__}", "options": options}
    layers = {name: {**entry, "rank": rank} for name, rank in ranks.items() if rank is not None}
    opened = {name: {"opened": True if kind == "recurrent" else kind} for name, kind in unfused.items()}
    return opened | layers


def note_structure(network: nn.Module, structure: Structure) -> Structure:
    """Note at each replaced layer of `network` its entry; return the structure of the network as it is now.

    It has what was replaced before, too: an outer layer comes before those that replaced parts of it.
    """
    for name, entry in structure.items():
        network.get_submodule(name).structure_entry = entry  # type: ignore[assignment]
    entries = {name: getattr(module, "structure_entry", None) for name, module in network.named_modules()}
    return {name: entry for name, entry in entries.items() if entry is not None}


def restore(network: nn.Module, structure: Structure, trust: Sequence[str] | None = None) -> nn.Module:
    """Give a dense `network`, in place, the `structure` of a compressed one, with zero factors to load a state into.

    A structure from a file is given the packages to `trust` beside this project: see `import_named`.
    """
    unfused = {name: entry["opened"] for name, entry in structure.items() if entry.get("opened")}
    unfuse_recurrent(network, lambda child: unfused.get(child.rpartition(".")[0]) is True)
    unfuse_attention(network, lambda child: unfused.get(child.rpartition(".")[0]) == "separate")
    unfuse_attention(network, lambda child: unfused.get(child.rpartition(".")[0]) == "joint", joint_qkv=True)
    for name, entry in structure.items():
        if entry.get("opened"):
            continue
        dense = network.get_submodule(name)
        if "rebuild" in entry:
            take_place(network, name, _named(entry["rebuild"], FUNCTIONS, trust)(dense, **entry["arguments"]))
            continue
        kind = _named(entry["format"], FORMATS, trust)
        is_format = isinstance(kind, type) and dataclasses.is_dataclass(kind)
        if not is_format:
            raise ValueError(f"{entry['format']} is no format")
        format = kind(**entry["options"])
        rank = tuple(entry["rank"]) if isinstance(entry["rank"], list) else entry["rank"]
        assert isinstance(dense.weight, torch.Tensor)
        take_place(network, name, layer_in_place_of(format, dense, format.zeros(dense.weight.detach(), rank)))
    note_structure(network, structure)
    return network


def _named(path: str, own: str, trust: Sequence[str] | None) -> Any:
    """Import what a dotted path names, or named in an earlier release."""
    return import_named(FORMER_PATHS.get(path, path), None if trust is None else (own, *trust))
