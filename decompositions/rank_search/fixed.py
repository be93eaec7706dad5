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
from runtime.identity import AsBefore

Size = Annotated[int, Ge(0)]


@dataclass(frozen=True)
class Fixed:
    """Take `ranks`: one rank for all layers, or a mapping of name patterns to ranks, of which the first match counts.

    An int stands for every mode of every layer that its pattern names, each at most its own largest rank, and the
    reason of the choice says where that is less; a list gives one rank a mode, which the layer has to allow. An int is
    rounded down to a multiple of `multiple_of`. A layer that no pattern names stays dense.
    """

    ranks: Size | list[Size] | dict[str, Size | list[Size]]
    multiple_of: Annotated[int, Ge(1), AsBefore(1)] = 1

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Look each layer's rank up; raises `ValueError` for a pattern that names no layer and an impossible rank."""
        patterns = self.ranks if isinstance(self.ranks, dict) else {"*": self.ranks}
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in problem.frontiers):
                raise ValueError(f"rank.ranks: '{pattern}' matches none of {', '.join(problem.frontiers)}")
        if not patterns:
            raise ValueError("rank.ranks: expected at least one pattern and its rank, got none")
        asked = {
            name: next((rank for pattern, rank in patterns.items() if fnmatchcase(name, pattern)), None)
            for name in problem.frontiers
        }
        ranks = {
            name: None if wanted is None else _checked(name, problem.frontiers[name], wanted)
            for name, wanted in asked.items()
        }
        unnamed = [name for name, rank in ranks.items() if rank is None]
        clamped = [f"{name} to {ranks[name]}" for name, wanted in asked.items() if _is_less(ranks[name], wanted)]
        said = ["ranks as configured"]
        said += [f"dense, because not named: {', '.join(unnamed)}"] if unnamed else []
        how = "no larger one is possible" if self.multiple_of == 1 else f"to a multiple of {self.multiple_of} below it"
        said += [f"{how}: {', '.join(clamped)}"] if clamped else []
        return RankChoice(ranks, "; ".join(said))


def _checked(name: str, frontier: Frontier, wanted: int | list[int]) -> Rank:
    """Return the wanted rank in as many modes as the layer has; raises `ValueError` if it does not allow it."""
    if any(low > high for low, high in frontier.allowed):
        raise ValueError(
            f"rank.ranks: layer {name} has no rank of at least method.min_rank; leave it out of method.layers"
        )
    if isinstance(wanted, list):
        modes = wanted
    else:
        modes = [min(wanted, high) for _, high in frontier.allowed]
        if all(mode >= low for mode, (low, _) in zip(modes, frontier.allowed, strict=True)):
            modes = frontier.rounded(modes, up=False)
    if not frontier.allows(modes):
        raise ValueError(f"rank.ranks: layer {name} takes a rank from {frontier.limits}, got {wanted}")
    return as_rank(modes)


def _is_less(rank: Rank | None, wanted: int | list[int] | None) -> bool:
    """Return True if all modes have less than the int that was wanted: of a format with several, some always have."""
    modes = rank if isinstance(rank, tuple) else (rank or 0,)
    return rank is not None and isinstance(wanted, int) and max(modes) < wanted
