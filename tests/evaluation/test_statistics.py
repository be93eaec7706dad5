"""Means, fronts and areas, each against an independent way to the same number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from evaluation.statistics import BOOTSTRAP_FROM, hypervolume, mean, pareto_front


def draws(num: int, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).gamma(2.0, 3.0, num).tolist()


@pytest.mark.parametrize("num", [2, 3, 7, BOOTSTRAP_FROM - 1])
def test_few_values_have_students_interval(num):
    values = draws(num)
    ours = mean(values)
    low, high = stats.t.interval(0.95, num - 1, np.mean(values), stats.sem(values))
    assert (ours.value, ours.num) == (pytest.approx(np.mean(values)), num)
    assert (ours.low, ours.high) == (pytest.approx(low), pytest.approx(high))
    assert ours.half_width == pytest.approx((high - low) / 2)


def test_many_values_have_the_bootstraps_and_a_seed_repeats():
    values = draws(60)
    ours = mean(values, np.random.default_rng(1))
    assert ours == mean(values, np.random.default_rng(1)) != mean(values, np.random.default_rng(2))
    assert mean(values) == mean(values)
    resampled = np.random.default_rng(3).choice(values, (20_000, 60)).mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    assert ours.low == pytest.approx(low, rel=0.05)
    assert ours.high == pytest.approx(high, rel=0.05)
    assert ours.high - ours.value > ours.value - ours.low, "skewed values have a skewed interval"


def test_one_value_none_nan_and_equal_ones():
    assert math.isnan(mean([5.0]).half_width)
    assert math.isnan(mean([1.0, math.nan]).value)
    assert mean([2, 2, 2]).half_width == 0.0
    assert mean([2.0] * 50).half_width == 0.0
    assert mean([99.0 + 1e-14 * (i % 2) for i in range(50)]).half_width == pytest.approx(0.0, abs=1e-12)
    assert mean([0.0] * 50).half_width == 0.0
    with pytest.raises(ValueError, match="at least one value"):
        mean([])


@pytest.mark.parametrize("seed", range(20))
def test_a_front_has_the_points_that_none_beats(seed):
    generator = np.random.default_rng(seed)
    costs, values = generator.integers(0, 8, (2, 15)).astype(float)  # with ties
    costs[3], values[5] = math.nan, math.nan
    front = pareto_front(costs.tolist(), values.tolist())

    def beats(a: int, b: int) -> bool:
        no_worse = costs[a] <= costs[b] and values[a] >= values[b]
        return no_worse and (costs[a] < costs[b] or values[a] > values[b] or a < b)

    known = [i for i in range(15) if i not in (3, 5)]
    assert sorted(front) == [i for i in known if not any(beats(other, i) for other in known if other != i)]
    assert [costs[i] for i in front] == sorted(costs[i] for i in front)


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_what_chance_finds(seed):
    generator = np.random.default_rng(seed)
    costs, values = generator.uniform(0, 1.2, (2, 6))
    corner = (1.0, 0.1)
    area = hypervolume(costs.tolist(), values.tolist(), corner)
    darts = generator.uniform([0, 0.1], [1.0, 1.2], (100_000, 2))  # (dart, cost and value)
    hit = ((costs <= darts[:, :1]) & (values >= darts[:, 1:])).any(axis=1)
    assert area == pytest.approx(hit.mean() * 1.1, abs=0.01)


def test_areas_of_nothing_and_of_points_beyond_the_corner():
    assert hypervolume([], [], (1.0, 0.0)) == 0.0
    assert hypervolume([2.0, 0.5], [1.0, -1.0], (1.0, 0.0)) == 0.0
    assert hypervolume([0.25, 2.0], [0.5, 9.0], (1.0, 0.0)) == pytest.approx(0.75 * 0.5)
