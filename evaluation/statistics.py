"""Means with intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Mean:
    """A mean with the half-width of its 95 % t interval (NaN for a single value) over `num` values."""

    value: float
    half_width: float
    num: int


def mean(values: Sequence[int | float]) -> Mean:
    """Mean and 95 % interval by Student's t with n − 1 degrees of freedom; NaN values make the mean NaN."""
    num = len(values)
    if num == 0:
        raise ValueError("mean: expected at least one value, got none")
    value = sum(values) / num
    if num == 1:
        return Mean(value, math.nan, 1)
    from scipy.special import stdtrit  # quantile of Student's t; scipy.stats takes ten times as long to import

    variance = sum((v - value) ** 2 for v in values) / (num - 1)
    return Mean(value, float(stdtrit(num - 1, 0.975)) * math.sqrt(variance / num), num)
