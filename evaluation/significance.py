"""Compare two experiments seed by seed, and correct the p-values of many comparisons.

Runs of one seed share the split, the order of batches and the reference: their differences vary less than their values.
The test is Student's t on the differences; the correction is Holm's step-down procedure [Hol79], which bounds the
probability of one false difference among all.

[Hol79] Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.statistics import Mean, mean

# A corrected p-value that is not below it is a tie.
ALPHA = 0.05


@dataclass(frozen=True)
class Paired:
    """The mean difference over the shared seeds with its 95 % interval, and its two-sided p-value; NaN for one seed."""

    difference: Mean
    p_value: float


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Paired | None:
    """Return ours less theirs over the seeds of both, which are the keys; None if they share none.

    >>> found = paired({0: 2.0, 1: 3.0, 2: 4.5}, {0: 1.0, 1: 2.0, 2: 3.0, 7: 9.0})
    >>> round(found.difference.value, 3), found.difference.num, round(found.p_value, 4)
    (1.167, 3, 0.0198)
    """
    seeds = sorted(ours.keys() & theirs.keys())
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    return None if not seeds else Paired(mean(differences), _p_value(differences))


def _p_value(differences: Sequence[float]) -> float:
    from scipy.special import stdtr  # Student's distribution; scipy.stats takes ten times as long to import

    num = len(differences)
    if num == 1 or not all(map(math.isfinite, differences)):
        return math.nan
    middle = sum(differences) / num
    error = math.sqrt(sum((d - middle) ** 2 for d in differences) / (num - 1) / num)
    if error == 0:
        return 1.0 if middle == 0 else 0.0
    return float(2 * stdtr(num - 1, -abs(middle) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number [Hol79], in their order; NaN is no comparison.

    >>> holm([0.01, 0.04, 0.03, float("nan")])
    [0.03, 0.06, 0.06, nan]
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    corrected, largest = list(p_values), 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[index] = largest
    return corrected
