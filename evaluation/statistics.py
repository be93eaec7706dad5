"""Summarise many results: means with intervals, Pareto fronts, and the area that a front encloses.

The interval of a mean is Student's t for few values. From `BOOTSTRAP_FROM` values on, enough to resample, it is the
bias-corrected and accelerated bootstrap [Efr87].

[Efr87] Efron, Better bootstrap confidence intervals, Journal of the American Statistical Association 82, 1987.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
BOOTSTRAP_FROM = 20
NUM_RESAMPLES = 9999
MAX_EXPONENT = 700.0  # of e, for a float
NEGLIGIBLE = 1e-9  # relative to the largest value: smaller differences are rounding, which cannot be resampled


@dataclass(frozen=True)
class Mean:
    """A mean over `num` values, with its 95 % interval from `low` to `high`: NaN for a single value."""

    value: float
    low: float
    high: float
    num: int

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2


def mean(values: Sequence[int | float], generator: np.random.Generator | None = None) -> Mean:
    """Return the mean and its 95 % interval: Student's t with n − 1 degrees; bootstrap from `BOOTSTRAP_FROM` values on.

    NaN among the values makes the mean NaN. The bootstrap draws from `generator`, by default one of a fixed seed: then
    the same values always have the same interval. Raises `ValueError` for no values.

    >>> average = mean([1.0, 2.0, 3.0])
    >>> average.value, round(average.low, 2), round(average.high, 2)
    (2.0, -0.48, 4.48)
    >>> resampled = mean([n / 10 for n in range(20)])
    >>> round(resampled.value, 2), round(resampled.low, 1), round(resampled.high, 1)
    (0.95, 0.7, 1.2)
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


def geometric_mean(values: Sequence[int | float]) -> Mean:
    """Return the mean of positive ratios, `exp(mean(log))`, with its interval: twice and half cancel.

    The interval is that of the mean logarithm, so that it is above zero and not symmetric. Raises `ValueError` for no
    values and for one that is not positive.

    >>> average = geometric_mean([0.5, 2.0])
    >>> average.value, average.low < 0.01, average.high > 100
    (1.0, True, True)
    """
    if any(value <= 0 for value in values):
        raise ValueError(f"geometric_mean: expected positive ratios, got {min(values)}")
    logarithms = mean([math.log(value) for value in values])

    def exp(number: float) -> float:
        return math.exp(number) if number < MAX_EXPONENT else math.inf

    return Mean(exp(logarithms.value), exp(logarithms.low), exp(logarithms.high), logarithms.num)


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Return the indices of the points that no other point beats, in the order of their costs.

    A point beats another if its cost is no higher, its value no lower, and one of them better; of equal points the
    first is on the front. Points with NaN are on no front.

    >>> pareto_front([1.0, 2.0, 3.0, 3.0], [10.0, 9.0, 11.0, 12.0])
    [0, 3]
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
    """Return the area between the front of the points and `corner`, a cost and a value that are worth nothing.

    It is the area of the union of the rectangles from each point to the corner; points beyond the corner add none.

    >>> hypervolume([1.0, 2.0], [1.0, 3.0], corner=(4.0, 0.0))
    7.0
    """
    area, covered = 0.0, corner[1]
    for index in pareto_front(costs, values):
        if costs[index] < corner[0] and values[index] > covered:
            area += (corner[0] - costs[index]) * (values[index] - covered)
            covered = values[index]
    return area
