"""Which builder goes into a network's file: one that needs no file of trained weights, because the state is in there.

A builder may be given a file that it reads (`network.weights` of torchvision's networks, an argument of your own). If
without it, with null in its place, it builds a network that computes the same once it has the other's state, then the
file is left out. What computes otherwise (the file says more than weights, as moments of the input) keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from decompositions.network.serialization import build_network
from runtime.messages import first_line

WEIGHTS = "weights"


def without_files(builder: dict[str, Any], input_shape: Sequence[int]) -> tuple[dict[str, Any], str]:
    """Return the builder of a network's file, and why it keeps a file of weights ("" if it does not)."""
    bare = {**builder, "arguments": _bare(builder["arguments"])}
    if bare == builder:
        return builder, ""
    with torch.random.fork_rng(devices=[]):  # building draws numbers
        full = build_network(builder)
        try:
            other = build_network(bare)
            other.load_state_dict(full.state_dict())
            images = probe(input_shape)
            with torch.no_grad():
                same = torch.equal(full.eval()(images), other.eval()(images))
        except Exception as error:  # whatever the builder's code does without its file
            return builder, f"{type(error).__name__}: {first_line(error)}"
    return (bare, "") if same else (builder, "it computes otherwise then")


def probe(input_shape: Sequence[int]) -> Tensor:
    """Return a batch of two samples, always the same, by which networks are told apart."""
    return torch.linspace(-1, 1, 2 * math.prod(input_shape)).reshape(2, *input_shape)


def _bare(value: Any, key: str = "") -> Any:
    """Return arguments with null in the place of `weights`, and of each text that is the path of a file."""
    if isinstance(value, dict):
        return {name: _bare(item, name) for name, item in value.items()}
    is_file = isinstance(value, str) and Path(value).expanduser().is_file()
    return None if is_file or (key == WEIGHTS and isinstance(value, str)) else value
