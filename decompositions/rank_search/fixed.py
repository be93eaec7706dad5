"""Take the ranks from the configuration, as papers that choose them by hand report them [YSLY21].

[YSLY21] Yin, Sui, Liao & Yuan, Towards efficient tensor decomposition-based DNN model compression, CVPR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

from annotated_types import Ge

from decompositions.core.frontier import Frontier, Rank, as_rank
from decompositions.rank_search.rule import RankChoice, RankProblem

Size = Annotated[int, Ge(0)]


@dataclass(frozen=True)
class Fixed:
    """Take `ranks`: one rank for all layers, or a mapping of name patterns to ranks, of which the first match counts.

    An int stands for all modes of a format with several, each at most its own size; a list gives one rank a mode.
    A layer that no pattern names stays dense.
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
        ranks: dict[str, Rank | None] = {}
        for name, frontier in problem.frontiers.items():
            wanted = next((r for pattern, r in patterns.items() if fnmatchcase(name, pattern)), None)
            ranks[name] = None if wanted is None else _checked(name, frontier, wanted)
        unnamed = [name for name, rank in ranks.items() if rank is None]
        return RankChoice(
            ranks, "ranks as configured" + (f"; dense, because not named: {', '.join(unnamed)}" if unnamed else "")
        )


def _checked(name: str, frontier: Frontier, wanted: int | list[int]) -> Rank:
    """Return the wanted rank in as many modes as the layer has; raises `ValueError` if it does not allow it."""
    if any(low > high for low, high in frontier.allowed):
        raise ValueError(
            f"rank.ranks: layer {name} has no rank of at least method.min_rank; leave it out of method.layers"
        )
    modes = wanted if isinstance(wanted, list) else [wanted]
    if isinstance(wanted, int) and len(frontier.allowed) > 1 and wanted <= max(high for _, high in frontier.allowed):
        modes = [min(wanted, high) for _, high in frontier.allowed]
    if len(modes) != len(frontier.allowed) or any(
        not low <= mode <= high for mode, (low, high) in zip(modes, frontier.allowed, strict=True)
    ):
        limits = " and ".join(f"{low} to {high}" for low, high in frontier.allowed)
        raise ValueError(f"rank.ranks: layer {name} takes a rank from {limits}, got {wanted}")
    return as_rank(modes)
