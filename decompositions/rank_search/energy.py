"""The smallest rank that keeps a share of a weight's squared norm: the common baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from decompositions.rank_search.rule import RankChoice, RankProblem
from runtime.identity import AsBefore


@dataclass(frozen=True)
class Energy:
    """Take each layer's cheapest point with `‖W − Ŵ‖² ≤ (1 − keep) ‖W‖²`; dense if no useful rank has it.

    Where the layer has to stay factorised and no point has it, take the one with the least error.
    """

    keep: Annotated[float, Gt(0), Le(1)]
    multiple_of: Annotated[int, Ge(1), AsBefore(1)] = 1

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Take the first sufficient point of each frontier; points are sorted by cost."""
        points = {}
        for name, frontier in problem.frontiers.items():
            allowed = max((1 - self.keep) * frontier.squared_norm, float(frontier.squared_error.min()))
            points[name] = int((frontier.squared_error <= allowed).int().argmax())
        return RankChoice.of_points(
            problem, points, f"smallest ranks that keep {self.keep:.2%} of each weight's squared norm"
        )
