"""The first layer of a network that takes pixels of 0 to 1: what its data set did to them before it was trained."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn


class Preprocessing(nn.Module):
    """`(x − mean) / deviation`; `mean` and `deviation` have the shape of a sample, or `(channel, 1, …)`."""

    def __init__(self, mean: Float[Tensor, "..."], deviation: Float[Tensor, "..."] | None) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor | None
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return what the network reads."""
        centred = x - self.mean
        return centred if self.deviation is None else centred / self.deviation


def with_preprocessing(network: nn.Module, kept: dict[str, Any] | None) -> nn.Sequential:
    """Put `preprocessing` before `network`; `kept` is what its file keeps. Raises `ValueError` where it keeps none."""
    if kept is None:
        raise ValueError(
            "it does not say how its pixels were normalised: it is of an earlier release, or its data did not say; "
            "load it without preprocessing, or run its point again with force=true"
        )
    layers = OrderedDict[str, nn.Module](preprocessing=Preprocessing(**kept), network=network)
    return nn.Sequential(layers).train(network.training)
