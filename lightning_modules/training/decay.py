"""Learning-rate decays: functions of the share of a phase that is done, so that they scale with its length."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from annotated_types import Ge, Gt, Le


class Decay(Protocol):
    """The factor on the initial learning rate when `share` (0 … 1) of a phase is done."""

    def __call__(self, share: float) -> float:
        """Return the factor on the learning rate."""
        ...


@dataclass(frozen=True)
class Exponential:
    """Fall by an equal factor every epoch, to `final` at the end of the phase; 1 keeps the rate constant.

    >>> decay = Exponential(final=0.25)
    >>> decay(0), decay(0.5), decay(1)
    (1.0, 0.5, 0.25)
    """

    final: Annotated[float, Gt(0)] = 1.0

    def __call__(self, share: float) -> float:
        """Return `final ** share`."""
        return self.final**share


# A configuration writes 30 or 60 of 90 epochs with four digits, 0.3333 or 0.6667: rounded down or up, the step comes at
# its epoch. In phases of up to 5,000 epochs this is less than one.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Steps:
    """Multiply the rate by `factor` at each share in `at`, which may be rounded to four digits.

    >>> decay = Steps(at=[0.5, 0.75], factor=0.5)
    >>> decay(0), decay(0.5), decay(0.8)
    (1.0, 0.5, 0.25)
    """

    at: list[Annotated[float, Gt(0), Le(1)]] = field(default_factory=lambda: [0.5, 0.75])
    factor: Annotated[float, Gt(0)] = 0.1

    def __call__(self, share: float) -> float:
        """Return `factor` to the power of the number of steps passed."""
        return self.factor ** sum(share >= at - ROUNDING for at in self.at)


@dataclass(frozen=True)
class Cosine:
    """Fall along half a cosine, to `final` at the end of the phase.

    >>> decay = Cosine(final=0.5)
    >>> decay(0), round(decay(0.5), 3), decay(1)
    (1.0, 0.75, 0.5)
    """

    final: Annotated[float, Ge(0)] = 0.0

    def __call__(self, share: float) -> float:
        """Return `final + (1 − final) (1 + cos π share) / 2`."""
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * share)) / 2
