"""Find the cheapest network whose validation accuracy stays within ε of the reference, by bisection on λ.

    min Σ C_l(r_l)   s.t.   accuracy(r) ≥ accuracy(reference) − ε

One λ shared by all layers walks from the smallest network to the one of least error, which is the dense one where
layers may be left dense (see `knapsack`); accuracy is taken to rise
along this path, so that some ten probes find where it crosses the line (where it wavers, a smaller network may be
missed). Every probe is a network at these ranks, without training, evaluated on the validation part. The choice
returned was itself probed.

Source: the accuracy-aware selection of Tucker ranks in Liu, Xie, Wen, Xie & Li, Accuracy-preserving compression via
Tucker, IEEE TSUSC 10(2), 2025; its text is not at hand: a reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from decompositions.core.frontier import Rank
from decompositions.rank_search.knapsack import cheapest, path
from decompositions.rank_search.rule import RankChoice, RankProblem
from runtime.identity import AsBefore


@dataclass(frozen=True)
class Accuracy:
    """Lose at most `epsilon` percentage points; cost is counted in parameters or multiply-adds (`of`)."""

    epsilon: Annotated[float, Ge(0), Le(100)]
    of: Literal["params", "macs"] = "params"
    multiple_of: Annotated[int, Ge(1), AsBefore(1)] = 1

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Bisect the path; raises `ValueError` where no accuracy can be measured."""
        measure, reference = problem.accuracy_percent, problem.reference_percent
        if measure is None or reference is None:
            raise ValueError(
                "rank: the accuracy rule measures the network on validation data, and there is nothing to measure "
                "with; give compress(…, evaluate=) a function, or take another rank rule"
            )
        problem = problem.up_to_dense(and_least_error=True)
        costs, errors = problem.costs_and_errors(self.of)
        steps = path(costs, errors)

        def after(number: int) -> dict[str, int]:
            """Return the points after so many steps."""
            return cheapest(costs, errors) | {step.name: step.index for step in steps[:number]}

        def ranks(number: int) -> dict[str, Rank | None]:
            return {name: problem.frontiers[name].rank(index) for name, index in after(number).items()}

        wanted = reference() - self.epsilon
        reached = {number: measure(ranks(number)) for number in (0, len(steps))}
        low, high = 0, len(steps)
        if reached[low] >= wanted:
            high = low
        while high - low > 1:  # low is too inaccurate, high is not, or is all there is
            middle = (low + high) // 2
            reached[middle] = measure(ranks(middle))
            low, high = (low, middle) if reached[middle] >= wanted else (middle, high)
        if reached[high] >= wanted:
            verdict = f"cheapest found in {self.of} with validation accuracy of at least {wanted:.2f} %"
        else:  # trained weights may have moved away from the reference
            high = max(reached, key=lambda number: (reached[number], -number))
            verdict = f"no probe reaches a validation accuracy of {wanted:.2f} %; the most accurate"
        return RankChoice.of_points(problem, after(high), f"{verdict}: {reached[high]:.2f} %, {len(reached)} probes")
