"""The ranks of the configuration, as papers that choose them by hand give them [YSLY21].

[YSLY21] Yin, Sui, Liao & Yuan, Towards efficient tensor decomposition-based DNN model compression, CVPR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

from annotated_types import Ge

from decompositions.frontier import Frontier, Rank
from decompositions.rank_search.rule import RankChoice, RankProblem

Size = Annotated[int, Ge(0)]


@dataclass(frozen=True)
class Fixed:
    """`ranks` is one rank for all layers, or a mapping of name patterns to ranks in which the first match counts.

    A layer that no pattern names stays dense, as does one that the given rank would not make smaller.
    """

    ranks: Size | list[Size] | dict[str, Size | list[Size]]

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Look each layer's rank up; raises `ValueError` for a pattern that names no layer and an impossible rank."""
        patterns = self.ranks if isinstance(self.ranks, dict) else {"*": self.ranks}
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in problem.frontiers):
                raise ValueError(f"rank.ranks: '{pattern}' matches none of {', '.join(problem.frontiers)}")
        if not patterns:
            raise ValueError("rank.ranks: expected at least one pattern and its rank, got none")
        points: dict[str, int] = {}
        unnamed: list[str] = []
        larger: list[str] = []
        for name, frontier in problem.frontiers.items():
            dense = len(frontier) - 1
            wanted = next((r for pattern, r in patterns.items() if fnmatchcase(name, pattern)), None)
            points[name] = dense if wanted is None else _find(name, frontier, wanted)
            if points[name] == dense:
                (unnamed if wanted is None else larger).append(name)
        reason = "ranks as configured"
        reason += f"; dense, because not named: {', '.join(unnamed)}" if unnamed else ""
        reason += f"; dense, because that rank is not smaller: {', '.join(larger)}" if larger else ""
        return RankChoice(points, reason)


def _find(name: str, frontier: Frontier, wanted: int | list[int]) -> int:
    """The index of a rank, or of the dense layer where that rank would not be smaller."""
    modes = [wanted] if isinstance(wanted, int) else wanted
    if len(modes) != len(frontier.allowed) or any(
        not low <= mode <= high for mode, (low, high) in zip(modes, frontier.allowed, strict=True)
    ):
        limits = " and ".join(f"{low} to {high}" for low, high in frontier.allowed)
        raise ValueError(f"rank.ranks: layer {name} takes a rank from {limits}, got {wanted}")
    rank: Rank = modes[0] if len(modes) == 1 else tuple(modes)
    return next((i for i in range(len(frontier)) if frontier.rank(i) == rank), len(frontier) - 1)
