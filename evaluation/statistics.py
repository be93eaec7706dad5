"""What several runs say together: means with intervals, differences over equal seeds, fronts and the area below them.

A mean of few values has the interval of Student's t; from `BOOTSTRAP_FROM` values on, where resampling begins to know
the distribution, that of the bias-corrected and accelerated bootstrap [Efr87].

[Efr87] Efron, Better bootstrap confidence intervals, Journal of the American Statistical Association 82, 1987.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
BOOTSTRAP_FROM = 20
NUM_RESAMPLES = 9999
NEGLIGIBLE = 1e-9  # values that differ by rounding alone, relative to the largest, have no distribution to resample


@dataclass(frozen=True)
class Mean:
    """A mean over `num` values with its 95 % interval from `low` to `high` (NaN for a single value)."""

    value: float
    low: float
    high: float
    num: int

    @property
    def half_width(self) -> float:
        """Half of the interval."""
        return (self.high - self.low) / 2


def mean(values: Sequence[int | float], generator: np.random.Generator | None = None) -> Mean:
    """Mean and 95 % interval: bootstrap of `BOOTSTRAP_FROM` values or more, else Student's t with n − 1 degrees.

    NaN values make the mean NaN. The bootstrap draws from `generator`, by default from one of a fixed seed: the same
    values have the same interval.
    """
    num = len(values)
    if num == 0:
        raise ValueError("mean: expected at least one value, got none")
    value = sum(values) / num
    if num == 1 or not math.isfinite(value):
        return Mean(value, math.nan, math.nan, num)
    if num >= BOOTSTRAP_FROM and max(values) - min(values) > NEGLIGIBLE * max(map(abs, values)):
        from scipy.stats import bootstrap  # a second to import; few tables have so many seeds

        generator = generator or np.random.default_rng(0)
        found = bootstrap(
            (np.asarray(values, float),),
            np.mean,
            n_resamples=NUM_RESAMPLES,
            confidence_level=LEVEL,
            method="BCa",
            rng=generator,
        ).confidence_interval
        return Mean(value, float(found.low), float(found.high), num)
    from scipy.special import stdtrit  # quantile of Student's t; scipy.stats takes ten times as long to import

    variance = sum((v - value) ** 2 for v in values) / (num - 1)
    half_width = float(stdtrit(num - 1, (1 + LEVEL) / 2)) * math.sqrt(variance / num)
    return Mean(value, value - half_width, value + half_width, num)


def paired_difference(
    first: Mapping[int, float], second: Mapping[int, float], generator: np.random.Generator | None = None
) -> Mean:
    """Mean of `first − second` over the seeds that both have: what differs from seed to seed in both alike cancels.

    Raises `ValueError` if they have no seed in common.
    """
    common = sorted(first.keys() & second.keys())
    if not common:
        raise ValueError(f"paired_difference: expected a common seed, got {sorted(first)} and {sorted(second)}")
    return mean([first[seed] - second[seed] for seed in common], generator)


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the points that no other beats in one of cost (less) and value (more) without losing in the other.

    In order of their cost; of equal points the first. Points with NaN are on no front.
    """
    order = sorted(
        (index for index in range(len(costs)) if not math.isnan(costs[index]) and not math.isnan(values[index])),
        key=lambda index: (costs[index], -values[index], index),
    )
    front: list[int] = []
    for index in order:
        if not front or values[index] > values[front[-1]]:
            front.append(index)
    return front


def hypervolume(costs: Sequence[float], values: Sequence[float], corner: tuple[float, float]) -> float:
    """Area between the front of the points and a `corner`, the cost and the value that are worth nothing.

    It is the union of the rectangles from each point to the corner; points beyond it add none.
    """
    area, covered = 0.0, corner[1]
    for index in pareto_front(costs, values):
        if costs[index] < corner[0] and values[index] > covered:
            area += (corner[0] - costs[index]) * (values[index] - covered)
            covered = values[index]
    return area
