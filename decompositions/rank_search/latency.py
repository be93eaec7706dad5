"""Meet a budget of measured time with the least total squared error: fewer multiply-adds are not always faster.

Each layer is measured at some ranks of its frontier and dense, on the device that holds it (see `search.measure`); the
choice among these is that of `knapsack`. Ours; no source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from decompositions.rank_search.knapsack import cheapest, least_error
from decompositions.rank_search.rule import RankChoice, RankProblem
from runtime.identity import AsBefore


@dataclass(frozen=True)
class Latency:
    """Let a `share` of the dense layers' time for `batch_size` samples remain; `num_ranks` are measured for each layer.

    The time of all else (activations, norms, layers left dense by name) is not counted.
    """

    reads_a_clock: ClassVar[bool] = True

    share: Annotated[float, Gt(0), Le(1)]
    batch_size: Annotated[int, Ge(1)] = 1
    num_ranks: Annotated[int, Ge(1)] = 8
    multiple_of: Annotated[int, Ge(1), AsBefore(1)] = 1

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Measure and choose; raises `ValueError` if the fastest choice is too slow or nothing can be measured."""
        measure = problem.latency_ms
        if measure is None:
            raise ValueError("rank: the latency rule measures layers, and there are none here to measure")
        problem = problem.up_to_dense()
        candidates, costs, errors, dense = {}, {}, {}, 0.0
        for name, frontier in problem.frontiers.items():
            candidates[name] = _spread(len(frontier), self.num_ranks)
            ranks = [frontier.rank(index) for index in candidates[name]]
            measured = list(dict.fromkeys([*ranks, None]))
            times = dict(zip(measured, measure(name, measured, self.batch_size), strict=True))
            costs[name], dense = [times[rank] for rank in ranks], dense + times[None]
            errors[name] = frontier.squared_error[candidates[name]].tolist()
        fastest = sum(costs[name][index] for name, index in cheapest(costs, errors).items())
        if fastest > self.share * dense:
            raise ValueError(
                f"rank.share={self.share:g}: the dense layers take {dense:.4g} ms for a batch of {self.batch_size}, "
                f"the fastest of the measured ranks {fastest:.4g} ms; raise the share to "
                f"{fastest / dense + 5e-4:.3f} or more, or take a format that is faster at this batch size"
            )
        points, slope = least_error(costs, errors, self.share * dense)
        used = sum(costs[name][index] for name, index in points.items())
        return RankChoice.of_points(
            problem,
            {name: candidates[name][index] for name, index in points.items()},
            f"least error within {self.share:.2%} of {dense:.4g} ms measured in these layers at batch "
            f"{self.batch_size}: {used:.4g} ms used, lambda {slope:g}",
        )


def _spread(num_points: int, wanted: int) -> list[int]:
    """Return the last index (usually dense) and up to `wanted` others, spread evenly along the frontier.

    >>> _spread(10, wanted=3)
    [0, 4, 8, 9]
    """
    last = num_points - 1
    return sorted({round(step * max(last - 1, 0) / max(wanted - 1, 1)) for step in range(wanted)} | {last})
