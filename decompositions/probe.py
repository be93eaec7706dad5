"""The accuracy of a network with some layers replaced for a moment: what the `accuracy` rank rule asks about."""

from __future__ import annotations

import math
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
        return self._evaluated()

    def accuracy_percent(self, layers: Mapping[str, nn.Module]) -> float:
        """Accuracy with these layers in the place of those they are named after."""
        dense = {name: self.network.get_submodule(name) for name in layers}
        try:
            for name, layer in layers.items():
                self.network.set_submodule(name, layer.train(dense[name].training))
            return self._evaluated()
        finally:
            for name, layer in dense.items():
                self.network.set_submodule(name, layer)

    def _evaluated(self) -> float:
        """A finite number, whatever `evaluate` does to the modes of the modules."""
        modes = {module: module.training for module in self.network.modules()}
        try:
            percent = self.evaluate()
        finally:
            for module, mode in modes.items():
                module.training = mode
        if not isinstance(percent, int | float) or not math.isfinite(percent):
            raise ValueError(f"evaluate: expected the accuracy in percent, a finite number, got {percent!r}")
        return float(percent)
