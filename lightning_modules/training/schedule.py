"""The numbers of a training recipe: how long, how fast, and how the penalty grows.

A network's YAML file holds the published recipe; `scale` shortens all its epochs together (see `resolvers`), and any
number can be overridden on the command line: `schedule.reference.epochs=12`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from torch import nn, optim

from lightning_modules.training.decay import Decay
from lightning_modules.training.distillation import Distillation


@dataclass(frozen=True)
class Phase:
    """One stretch of training with SGD: a change of structure or of objective begins a new one.

    Differs from [IC20] in fine-tuning: `weight_decay` acts on the factors, not on their product.
    """

    epochs: Annotated[int, Ge(0)]
    learning_rate: Annotated[float, Gt(0)]
    decay: Decay
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, Ge(0)] = 0.0

    def optimizer(self, network: nn.Module, factor: float = 1.0) -> optim.Optimizer:
        """A fresh SGD optimiser for `network`, its rate multiplied by `factor`."""
        return optim.SGD(
            network.parameters(),
            lr=self.learning_rate * factor,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class Penalty:
    """`μ_j = initial · growth^j` for the L steps `j = 1 … num_steps`."""

    initial: Annotated[float, Gt(0)]
    growth: Annotated[float, Ge(1)]
    num_steps: Annotated[int, Ge(1)]

    def weight(self, step: int) -> float:
        """μ of one step; step 0 is direct compression."""
        return float(self.initial * self.growth**step)


@dataclass(frozen=True)
class Schedule:
    """A recipe: the phases, the penalty, the batch size.

    `from_scratch` trains a network that is factorised from its start, `distillation` is for it and for `fine_tune`.
    `l_step_decay` multiplies the learning rate from one L step to the next; `scale` is what the epochs of the network's
    file were multiplied by (0.1 in `schedule=short`), kept here for the record.
    """

    scale: Annotated[float, Gt(0)]
    batch_size: Annotated[int, Ge(1)]
    reference: Phase
    l_step: Phase
    l_step_decay: Annotated[float, Gt(0), Le(1)]
    fine_tune: Phase
    from_scratch: Phase
    penalty: Penalty
    distillation: Distillation = field(default_factory=Distillation)
