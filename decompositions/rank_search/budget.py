"""Meet a global budget with the least total squared error: a knapsack over the layers' frontiers.

For one λ shared by all layers, `argmin_r λ C_l(r) + err_l(r)` walks the lower convex hull of each frontier, and the
total cost falls as λ rises. Taking hull steps of all layers in the order of their slopes visits every λ exactly, so
there is nothing to bisect. What is left of the budget is then spent greedily, on any points that still fit. The error
is within one frontier step of the knapsack's optimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Gt, Le

from decompositions.frontier import Frontier
from decompositions.rank_search.rule import RankChoice, RankProblem


@dataclass(frozen=True)
class Budget:
    """`share` of the whole uncompressed network's parameters or multiply-adds (`of`) that may remain."""

    share: Annotated[float, Gt(0), Le(1)]
    of: Literal["params", "macs"] = "params"

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Choose points within the budget; raises `ValueError` if the smallest choice exceeds it."""
        costs = {name: f.cost(self.of).tolist() for name, f in problem.frontiers.items()}
        errors = {name: f.squared_error.tolist() for name, f in problem.frontiers.items()}
        points = {name: min(range(len(c)), key=lambda i: (c[i], errors[name][i])) for name, c in costs.items()}
        dense = problem.dense_cost(self.of)
        smallest = problem.rest(self.of) + sum(costs[name][i] for name, i in points.items())
        left = self.share * dense - smallest
        if left < 0:
            raise ValueError(
                f"rank.share={self.share:g}: the budget is {self.share * dense:.0f} {self.of}, but the smallest "
                f"network that the format, method.layers and method.min_rank allow has {smallest:.0f}; "
                f"raise the share to {smallest / dense + 5e-4:.3f} or more"
            )
        slope = 0.0
        steps = sorted(
            (step for name, f in problem.frontiers.items() for step in _hull_steps(name, f, self.of)), reverse=True
        )
        for step_slope, name, index in steps:
            extra = costs[name][index] - costs[name][points[name]]
            if extra > left:
                break  # the exact choice for this λ; beyond it no single λ fits the budget
            points[name], left, slope = index, left - extra, step_slope
        while True:  # close the gap: the largest fall of the error that still fits
            candidates = [
                (errors[name][points[name]] - errors[name][i], name, i)
                for name in costs
                for i in range(len(costs[name]))
                if 0 <= costs[name][i] - costs[name][points[name]] <= left
                and errors[name][i] < errors[name][points[name]]
            ]
            if not candidates:
                break
            _, name, index = max(candidates)
            left -= costs[name][index] - costs[name][points[name]]
            points[name] = index
        used = self.share * dense - left
        return RankChoice.of_points(
            problem,
            points,
            f"least error within {self.share:.2%} of {dense:.0f} {self.of}: {used:.0f} used, lambda {slope:g}",
        )


def _hull_steps(name: str, frontier: Frontier, of: str) -> list[tuple[float, str, int]]:
    """The lower convex hull of (cost, error), from the cheapest point on, as (error saved per cost, name, index)."""
    cost, error = frontier.cost(of).tolist(), frontier.squared_error.tolist()
    hull: list[int] = []
    for i in sorted(range(len(cost)), key=lambda i: (cost[i], error[i])):
        if hull and (cost[i] == cost[hull[-1]] or error[i] >= error[hull[-1]]):
            continue
        # A point above the line from its predecessor to this one is no corner.
        while len(hull) > 1 and _slope(cost, error, hull[-2], hull[-1]) <= _slope(cost, error, hull[-2], i):
            hull.pop()
        hull.append(i)
    return [(_slope(cost, error, a, b), name, b) for a, b in pairwise(hull)]


def _slope(cost: list[float], error: list[float], a: int, b: int) -> float:
    """Error saved per cost from point `a` to the dearer point `b`."""
    return (error[a] - error[b]) / (cost[b] - cost[a])
