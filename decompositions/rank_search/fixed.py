"""The ranks of the configuration, as papers that choose them by hand give them [YSLY21].

[YSLY21] Yin, Sui, Liao & Yuan, Towards efficient tensor decomposition-based DNN model compression, CVPR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from decompositions.frontier import Frontier, Rank
from decompositions.rank_search.rule import RankChoice, RankProblem


@dataclass(frozen=True)
class Fixed:
    """`ranks` is one rank for all layers, or a mapping of name patterns to ranks in which the first match counts.

    A layer that no pattern names stays dense, as does one that the given rank would not make smaller.
    """

    ranks: int | list[int] | dict[str, int | list[int]]

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Look each layer's rank up; raises `ValueError` for a pattern that names no layer."""
        patterns = self.ranks if isinstance(self.ranks, dict) else {"*": self.ranks}
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in problem.frontiers):
                raise ValueError(f"rank.ranks: '{pattern}' matches none of {', '.join(problem.frontiers)}")
        points, dense = {}, []
        for name, frontier in problem.frontiers.items():
            wanted = next((r for pattern, r in patterns.items() if fnmatchcase(name, pattern)), None)
            points[name] = len(frontier) - 1 if wanted is None else _find(frontier, _as_rank(wanted))
            if frontier.rank(points[name]) is None:
                dense.append(name)
        kept = f"; dense, because not named or not smaller: {', '.join(dense)}" if dense else ""
        return RankChoice(points, f"ranks as configured{kept}")


def _as_rank(rank: int | list[int]) -> Rank:
    return rank if isinstance(rank, int) else tuple(rank)


def _find(frontier: Frontier, rank: Rank) -> int:
    """The index of `rank`, or of the dense layer where the frontier does not hold it."""
    return next((i for i in range(len(frontier)) if frontier.rank(i) == rank), len(frontier) - 1)
