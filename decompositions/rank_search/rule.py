"""The role of a rank rule, the problem that it solves and the choice that it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from decompositions.core.frontier import Frontier, Rank


@dataclass(frozen=True)
class RankProblem:
    """The frontiers of all layers, and the weight `penalty` (μ) of their squared errors.

    `rest_params` and `rest_macs` count the network outside the frontiers, so that shares are of the whole network.
    Three functions measure; each is None if it cannot. `accuracy_percent(ranks)` measures the network at these ranks on
    validation data, `reference_percent()` the uncompressed one; `latency_ms(layer, ranks, batch_size)` measures one
    layer at each of `ranks`.
    """

    frontiers: Mapping[str, Frontier]
    penalty: float
    rest_params: int = 0
    rest_macs: int = 0
    accuracy_percent: Callable[[Mapping[str, Rank | None]], float] | None = None
    reference_percent: Callable[[], float] | None = None
    latency_ms: Callable[[str, Sequence[Rank | None], int], list[float]] | None = None

    def rest(self, of: str) -> int:
        """Return the cost of the network outside the frontiers; `of` is "params" or "macs"."""
        return self.rest_params if of == "params" else self.rest_macs

    def up_to_dense(self, *, and_least_error: bool = False) -> RankProblem:
        """Return the problem with points that are no larger than the dense layers (see `Frontier.up_to_dense`)."""
        frontiers = {
            name: frontier.up_to_dense(and_least_error=and_least_error) for name, frontier in self.frontiers.items()
        }
        return replace(self, frontiers=frontiers)

    def costs_and_errors(self, of: str) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """Return costs and squared errors of every point by layer, for the knapsack; `of` is "params" or "macs"."""
        costs = {name: frontier.cost(of).tolist() for name, frontier in self.frontiers.items()}
        return costs, {name: frontier.squared_error.tolist() for name, frontier in self.frontiers.items()}

    def dense_cost(self, of: str) -> int:
        """Return the cost of the whole uncompressed network; `of` is "params" or "macs"."""
        return self.rest(of) + sum(f.dense_cost(of) for f in self.frontiers.values())


@dataclass(frozen=True)
class RankChoice:
    """The chosen rank of each layer (None: dense), and one line that says why these.

    A rank need not lie on the frontier; where it is not smaller than the dense layer, the layer stays dense.
    """

    ranks: dict[str, Rank | None]
    reason: str

    @classmethod
    def of_points(cls, problem: RankProblem, points: Mapping[str, int], reason: str) -> RankChoice:
        """Return the ranks at these indices of the frontiers; raises `ValueError` for an index out of range."""
        for name, index in points.items():
            if not isinstance(index, int) or not 0 <= index < len(problem.frontiers[name]):
                last = len(problem.frontiers[name]) - 1
                raise ValueError(f"rank rule: layer {name} has points 0 to {last}, got {index!r}")
        return cls({name: problem.frontiers[name].rank(index) for name, index in points.items()}, reason)


@runtime_checkable
class RankRule(Protocol):
    """A pure function; implementations are frozen dataclasses whose fields are the options of their YAML file.

    A rule whose choice depends on measured times sets `reads_a_clock: ClassVar[bool] = True`. One that has an option
    `multiple_of` gets frontiers whose ranks are multiples of it (see `linalg.multiples`).
    """

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Choose the rank of every layer; raises `ValueError` if no choice meets the rule."""
        ...


def multiple_of(rule: RankRule) -> int:
    """Return the number of which all ranks are to be multiples: 1 for a rule without the option."""
    step = getattr(rule, "multiple_of", 1)
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise ValueError(f"rank.multiple_of: expected an int of at least 1, got {step!r}")
    return step
