"""Choose ranks once for all processes that train one point."""

from __future__ import annotations

from dataclasses import dataclass

from decompositions.rank_search.rule import RankChoice, RankProblem, RankRule
from runtime.distributed import broadcast, group


@dataclass(frozen=True)
class BroadcastRule:
    """A rank rule whose choice on rank 0 is that of all processes.

    A rule that reads a clock is called only on rank 0: no two measurements are equal, and processes that measure at the
    same time disturb each other. Other rules are called in every process, because some evaluate the network, in which
    all take part.
    """

    rule: RankRule

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Return rank 0's choice; raises in every process the `ValueError` that the rule raised there."""
        if not getattr(self.rule, "reads_a_clock", False):
            return broadcast(self.rule(problem))
        outcome: RankChoice | ValueError | None = None
        if group().rank == 0:
            try:
                outcome = self.rule(problem)
            except ValueError as error:
                outcome = error
        outcome = broadcast(outcome)
        if isinstance(outcome, ValueError):
            raise outcome
        assert outcome is not None
        return outcome
