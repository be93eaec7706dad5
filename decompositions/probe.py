"""The accuracy of a network whose weights are replaced for a moment: what the `accuracy` rank rule asks about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Probe:
    """`evaluate` returns the network's accuracy on validation data, in percent; `weights` are those of its sites."""

    evaluate: Callable[[], float]
    weights: Mapping[str, nn.Parameter]

    @cached_property
    def reference_percent(self) -> float:
        """The accuracy of the network as it is when this is first asked: before anything was trained or replaced."""
        return self.evaluate()

    def accuracy_percent(self, tensors: Mapping[str, Tensor]) -> float:
        """Accuracy with these tensors in the place of the weights of the layers they name."""
        with substituted({name: self.weights[name] for name in tensors}, tensors):
            return self.evaluate()


@contextmanager
def substituted(weights: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Give the parameters other values for a while."""
    kept = {name: weight.detach().clone() for name, weight in weights.items()}
    try:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(values[name])
        yield
    finally:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(kept[name])
