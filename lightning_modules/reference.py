"""The method that compresses nothing: the row of the reference network itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from lightning_modules.method import Compressed
from lightning_modules.runner import Runner


@dataclass(frozen=True)
class Reference:
    """Return the network as it was trained."""

    def check(self, network: nn.Module, input_shape: Sequence[int]) -> None:
        """Every network has a reference."""

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """The network itself, no epoch spent."""
        return Compressed(reference)
