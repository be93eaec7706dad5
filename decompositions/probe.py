"""The accuracy of a network with some layers replaced for a moment: what the `accuracy` rank rule asks about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import nn


@dataclass(frozen=True)
class Probe:
    """`evaluate` returns the accuracy of `network`, as it is at that moment, on validation data, in percent."""

    network: nn.Module
    evaluate: Callable[[], float]

    @cached_property
    def reference_percent(self) -> float:
        """The accuracy of the network as it is when this is first asked: before anything was trained or replaced."""
        return self.evaluate()

    def accuracy_percent(self, layers: Mapping[str, nn.Module]) -> float:
        """Accuracy with these layers in the place of those they are named after."""
        dense = {name: self.network.get_submodule(name) for name in layers}
        try:
            for name, layer in layers.items():
                self.network.set_submodule(name, layer)
            return self.evaluate()
        finally:
            for name, layer in dense.items():
                self.network.set_submodule(name, layer)
