"""Meet a global budget of parameters or multiply-adds with the least total squared error (see `knapsack`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from decompositions.rank_search.knapsack import cheapest, least_error
from decompositions.rank_search.rule import RankChoice, RankProblem
from runtime.identity import AsBefore


@dataclass(frozen=True)
class Budget:
    """Let a `share` of the whole uncompressed network's parameters or multiply-adds (`of`) remain.

    >>> import torch
    >>> from decompositions.core.site import survey
    >>> from decompositions.svd import SVD
    >>> site = survey(torch.nn.Sequential(torch.nn.Linear(20, 10)), (20,)).sites["0"]  # 210 parameters, 30 r + 10 at r
    >>> frontier = SVD().analyse(torch.eye(10, 20)).frontier(site)
    >>> Budget(share=0.5)(RankProblem({"0": frontier}, penalty=1.0)).ranks
    {'0': 3}
    """

    share: Annotated[float, Gt(0), Le(1)]
    of: Literal["params", "macs"] = "params"
    multiple_of: Annotated[int, Ge(1), AsBefore(1)] = 1

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Choose points within the budget; raises `ValueError` if the smallest choice exceeds it."""
        problem = problem.up_to_dense()
        costs, errors = problem.costs_and_errors(self.of)
        dense, rest = problem.dense_cost(self.of), problem.rest(self.of)
        smallest = rest + sum(costs[name][i] for name, i in cheapest(costs, errors).items())
        if smallest > self.share * dense:
            raise ValueError(
                f"rank.share={self.share:g}: the budget is {self.share * dense:.0f} {self.of}, but the smallest "
                f"network that the format, method.layers and method.min_rank allow has {smallest:.0f}; "
                f"raise the share to {smallest / dense + 5e-4:.3f} or more"
            )
        points, slope = least_error(costs, errors, self.share * dense - rest)
        used = rest + sum(costs[name][index] for name, index in points.items())
        return RankChoice.of_points(
            problem,
            points,
            f"least error within {self.share:.2%} of {dense:.0f} {self.of}: {used:.0f} used, lambda {slope:g}",
        )
