"""The layers that a method may change in place, without another format: linear ones and convolutions of any groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from decompositions.site import Survey, survey


def dense_sites(network: nn.Module, input_shape: Sequence[int], layers: Sequence[str]) -> Survey:
    """Find the layers that match `layers`; raises `ValueError` if there are none."""
    found = survey(network, input_shape, layers, grouped=True)
    # A survey expects recurrent layers to be opened, which only formats do.
    recurrent = [name for name, layer in network.named_modules() if isinstance(layer, nn.RNNBase)]
    found = replace(found, skipped=found.skipped | dict.fromkeys(recurrent, "recurrent layers stay as they are"))
    if not found.sites:
        raise ValueError(f"the network has no layer to compress ({listed(found.skipped)})")
    return found


def listed(reasons: dict[str, str]) -> str:
    """The reasons of all layers in one line."""
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
