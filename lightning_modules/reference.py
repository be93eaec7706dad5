"""The method that compresses nothing: its row is that of the reference network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from lightning_modules.core.dry_run import refuse_idle_distillation
from lightning_modules.core.method import Compressed
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Schedule


@dataclass(frozen=True)
class Reference:
    """Return the network as it was trained."""

    trains: ClassVar[bool] = False  # beyond the reference, which has an identity of its own

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Raise `ValueError` only for distillation: every network has a reference."""
        refuse_idle_distillation(schedule, 0)

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Return the network itself, without an epoch of training."""
        return Compressed(reference)
