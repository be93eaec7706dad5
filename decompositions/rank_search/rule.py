"""The role of a rank rule, the problem it is given and the choice it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from decompositions.core.frontier import Frontier, Rank


@dataclass(frozen=True)
class RankProblem:
    """The frontiers of all layers, the weight `penalty` (μ) of their squared errors, and what no rank can change.

    `rest_params` and `rest_macs` count the network outside the frontiers, so that shares are of the whole network.
    What cannot be counted is measured when a rule asks: `accuracy_percent(ranks)` of the network at these ranks on
    validation data, to be held against `reference_percent()`; `latency_ms(layer, ranks, batch_size)` of one layer at
    each of some ranks. They are None where nothing can be measured.
    """

    frontiers: Mapping[str, Frontier]
    penalty: float
    rest_params: int = 0
    rest_macs: int = 0
    accuracy_percent: Callable[[Mapping[str, Rank | None]], float] | None = None
    reference_percent: Callable[[], float] | None = None
    latency_ms: Callable[[str, Sequence[Rank | None], int], list[float]] | None = None

    def rest(self, of: str) -> int:
        """What the rest of the network costs: `of` is "params" or "macs"."""
        return self.rest_params if of == "params" else self.rest_macs

    def dense_cost(self, of: str) -> float:
        """What the whole uncompressed network costs."""
        return self.rest(of) + sum(float(f.cost(of)[-1]) for f in self.frontiers.values())


@dataclass(frozen=True)
class RankChoice:
    """The chosen rank of each layer (None: dense), and one line that says why these.

    A rank need not lie on the frontier; where it is not smaller than the dense layer, the layer stays dense.
    """

    ranks: dict[str, Rank | None]
    reason: str

    @classmethod
    def of_points(cls, problem: RankProblem, points: Mapping[str, int], reason: str) -> RankChoice:
        """The ranks at these indices of the frontiers; raises `ValueError` for an index that is none."""
        for name, index in points.items():
            if not isinstance(index, int) or not 0 <= index < len(problem.frontiers[name]):
                last = len(problem.frontiers[name]) - 1
                raise ValueError(f"rank rule: layer {name} has points 0 to {last}, got {index!r}")
        return cls({name: problem.frontiers[name].rank(index) for name, index in points.items()}, reason)


@runtime_checkable
class RankRule(Protocol):
    """A pure function; implementations are frozen dataclasses whose fields are the options of their YAML file.

    One whose choice depends on measured times says so: `reads_a_clock: ClassVar[bool] = True`.
    """

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Choose the rank of every layer; raises `ValueError` if no choice meets the rule."""
        ...
