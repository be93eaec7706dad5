"""The numbers of a training recipe: epochs, learning rates, and the growth of the penalty.

A network's YAML file holds the published recipe; `scale` shortens all its epochs together (see `resolvers`), and any
number can be overridden on the command line: `schedule.reference.epochs=12`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from torch import nn, optim

from lightning_modules.training.decay import Decay
from lightning_modules.training.distillation import Distillation
from runtime.identity import AsBefore, CountsInOthers

LARGEST_WEIGHT = 1e38  # of 32 bits; what it is multiplied by may be three times as large


@dataclass(frozen=True)
class Phase:
    """A stretch of training with SGD; a change of structure or of objective starts a new one.

    Differs from [IC20] in fine-tuning: `weight_decay` acts on the factors, not on their product.

    Args:
        epochs: 0 skips the phase; more than a million are a slip of the keyboard.
        learning_rate: at the start of the phase.
        decay: the factor on it as the phase goes on.
        momentum: 0 is plain SGD.
        nesterov: Nesterov's momentum instead of the heavy ball's.
        weight_decay: the L2 penalty's weight, as `torch.optim.SGD` has it.
    """

    epochs: Annotated[int, Ge(0), Le(1_000_000)]
    learning_rate: Annotated[float, Gt(0)]
    decay: Decay
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, Ge(0)] = 0.0

    def optimizer(self, network: nn.Module, factor: float = 1.0) -> optim.Optimizer:
        """Return a new SGD optimiser for `network`, its learning rate multiplied by `factor`."""
        return optim.SGD(
            network.parameters(),
            lr=self.learning_rate * factor,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class Penalty:
    """The weight of the quadratic penalty, `μ_j = initial · growth^j`, in the L steps `j = 1 … num_steps`.

    With `start="zero"` step 0, the C step of direct compression, has μ = 0 and each L step the weight of the one before
    it, so that the first has `initial`. The `cost` rule then begins at its cheapest ranks, as in [IC20]'s toolkit.
    """

    initial: Annotated[float, Gt(0)]
    growth: Annotated[float, Ge(1)]
    num_steps: Annotated[int, Ge(1), Le(1_000_000)]
    start: Annotated[Literal["initial", "zero"], AsBefore("initial")] = "initial"

    def __post_init__(self) -> None:
        """Raise `ValueError` if μ leaves the numbers of 32 bits before the last step."""
        try:
            last = self.weight(self.num_steps)
        except OverflowError:
            last = math.inf
        if last > LARGEST_WEIGHT:
            raise ValueError(
                f"expected a weight of at most {LARGEST_WEIGHT:g} at the last of num_steps={self.num_steps} steps, got "
                f"{self.initial:g} · {self.growth:g}^{self.num_growths(self.num_steps)}; lower initial or growth"
            )

    def num_growths(self, step: int) -> int:
        """Return how often μ has grown since it was `initial`; -1 if it is still zero."""
        return step - (self.start == "zero")

    def weight(self, step: int) -> float:
        """Return μ of an L step; step 0 is the C step of direct compression.

        >>> [Penalty(initial=0.5, growth=2, num_steps=2).weight(step) for step in range(3)]
        [0.5, 1.0, 2.0]
        >>> [Penalty(initial=0.5, growth=2, num_steps=2, start="zero").weight(step) for step in range(3)]
        [0.0, 0.5, 1.0]
        """
        number = self.num_growths(step)
        return 0.0 if number < 0 else float(self.initial * self.growth**number)


@dataclass(frozen=True)
class Schedule:
    """A recipe: the phases, the penalty, the batch size.

    Args:
        scale: the factor that was applied to the epochs of the network's file (0.1 in `schedule=short`); only recorded.
        batch_size: of every phase.
        reference: trains the reference.
        l_step: one L step of the joint objective.
        l_step_decay: multiplies the learning rate from one L step to the next, as often as μ has grown.
        decay_over_l_steps: multiplies it too; the share done at L step n of N is (n − 1)/N. None: no decay.
        joint_epochs: of all L steps together; only recorded: conf/method/admm.yaml has one L step for each of them.
        keep_momentum: an L step begins with the momentum of the last one, as if all were one phase.
        fine_tune: trains a compressed network.
        from_scratch: trains a network that is factorised from its start.
        penalty: of the joint objective.
        distillation: from the reference, in `fine_tune` and `from_scratch`.
    """

    scale: Annotated[float, Gt(0), Le(10_000)]
    batch_size: Annotated[int, Ge(1)]
    reference: Phase
    l_step: Phase
    l_step_decay: Annotated[float, Gt(0), Le(1)]
    fine_tune: Phase
    from_scratch: Phase
    penalty: Penalty
    distillation: Distillation = field(default_factory=Distillation)
    decay_over_l_steps: Annotated[Decay | None, AsBefore(None)] = None
    keep_momentum: Annotated[bool, AsBefore(False)] = False
    joint_epochs: Annotated[int, Ge(1), CountsInOthers()] = 900

    def l_step_factor(self, number: int) -> float:
        """Return the factor on the learning rate at the start of L step `number`, from 1 on."""
        decay = (
            1.0 if self.decay_over_l_steps is None else self.decay_over_l_steps((number - 1) / self.penalty.num_steps)
        )
        return float(self.l_step_decay ** self.penalty.num_growths(number) * decay)
