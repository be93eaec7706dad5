"""The method that compresses nothing: the row of the reference network itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from lightning_modules.core.dry_run import refuse_idle_distillation
from lightning_modules.core.method import Compressed
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Schedule


@dataclass(frozen=True)
class Reference:
    """Return the network as it was trained."""

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Every network has a reference."""
        refuse_idle_distillation(schedule, 0)

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """The network itself, no epoch spent."""
        return Compressed(reference)
