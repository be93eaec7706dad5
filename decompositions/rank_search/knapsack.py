"""The least total error within a budget: a knapsack with one item a layer, its points costing what a rule says.

For one λ shared by all layers, `argmin λ cost + error` walks the lower convex hull of each layer's points, and the
total cost falls as λ rises. Taking hull steps of all layers in the order of their slopes visits every λ exactly, so
there is nothing to bisect. What is left of the budget is then spent greedily, on any points that still fit. The error
is within one step of the knapsack's optimum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Points = dict[str, int]


@dataclass(frozen=True)
class Step:
    """A layer moves to the dearer point `index` of its hull, saving `slope` of error per cost."""

    slope: float
    name: str
    index: int


def cheapest(costs: Mapping[str, Sequence[float]], errors: Mapping[str, Sequence[float]]) -> Points:
    """Return the cheapest point of every layer; of equally cheap ones the most accurate.

    >>> cheapest({"a": [1.0, 2.0, 3.0], "b": [5.0, 5.0]}, {"a": [9.0, 4.0, 0.0], "b": [2.0, 1.0]})
    {'a': 0, 'b': 1}
    """
    return {name: min(range(len(c)), key=lambda i: (c[i], errors[name][i])) for name, c in costs.items()}


def path(costs: Mapping[str, Sequence[float]], errors: Mapping[str, Sequence[float]]) -> list[Step]:
    """Return the steps from the cheapest points to those of least error, steepest first: one for each value of λ."""
    steps = [step for name in costs for step in _hull_steps(name, costs[name], errors[name])]
    return sorted(steps, key=lambda step: (step.slope, step.name, step.index), reverse=True)


def least_error(
    costs: Mapping[str, Sequence[float]], errors: Mapping[str, Sequence[float]], budget: float
) -> tuple[Points, float]:
    """Return points whose costs sum to at most `budget`, and the λ reached (as a slope).

    The cheapest points must meet the budget.

    >>> least_error({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0]}, {"a": [9.0, 4.0, 0.0], "b": [2.0, 0.0]}, budget=4.0)
    ({'a': 2, 'b': 0}, 4.0)
    """
    points, slope = cheapest(costs, errors), 0.0
    left = budget - sum(costs[name][index] for name, index in points.items())
    for step in path(costs, errors):
        extra = costs[step.name][step.index] - costs[step.name][points[step.name]]
        if extra > left:
            break  # the exact choice for this λ; beyond it no single λ fits the budget
        points[step.name], left, slope = step.index, left - extra, step.slope
    while True:  # close the gap: the largest fall of the error that still fits
        candidates = [
            (errors[name][points[name]] - errors[name][i], name, i)
            for name in costs
            for i in range(len(costs[name]))
            if 0 <= costs[name][i] - costs[name][points[name]] <= left and errors[name][i] < errors[name][points[name]]
        ]
        if not candidates:
            return points, slope
        _, name, index = max(candidates)
        left -= costs[name][index] - costs[name][points[name]]
        points[name] = index


def _hull_steps(name: str, cost: Sequence[float], error: Sequence[float]) -> list[Step]:
    """Return the steps along the lower convex hull of (cost, error), from the cheapest point on."""
    hull: list[int] = []
    for i in sorted(range(len(cost)), key=lambda i: (cost[i], error[i])):
        if hull and (cost[i] == cost[hull[-1]] or error[i] >= error[hull[-1]]):
            continue
        # A point above the line from its predecessor to this one is no corner.
        while len(hull) > 1 and _slope(cost, error, hull[-2], hull[-1]) <= _slope(cost, error, hull[-2], i):
            hull.pop()
        hull.append(i)
    return [Step(_slope(cost, error, a, b), name, b) for a, b in pairwise(hull)]


def _slope(cost: Sequence[float], error: Sequence[float], a: int, b: int) -> float:
    """Return the error saved per cost from point `a` to the dearer point `b`."""
    return (error[a] - error[b]) / (cost[b] - cost[a])
