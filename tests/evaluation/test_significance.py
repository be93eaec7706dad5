"""Differences of pairs against scipy's test of related samples; Holm against its definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from evaluation.significance import holm, paired


@pytest.mark.parametrize("num", [2, 3, 7, 25])
def test_pairs_are_tested_as_scipy_does(num):
    rng = np.random.default_rng(num)
    base = rng.normal(90, 5, num)
    ours = base + rng.normal(0.3, 0.2, num)
    found = paired(dict(enumerate(ours)), dict(enumerate(base)))
    expected = stats.ttest_rel(ours, base)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.difference.value == pytest.approx((ours - base).mean())
    if num < 20:
        interval = expected.confidence_interval(0.95)
        assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))


def test_seeds_are_matched_and_what_varies_with_them_falls_away():
    ours, theirs = {5: 80.0, 3: 92.0, 9: 70.0}, {3: 90.0, 5: 79.0, 1: 0.0}
    found = paired(ours, theirs)
    assert (found.difference.value, found.difference.num) == (1.5, 2)
    assert paired({0: 1.0}, {1: 1.0}) is None
    assert math.isnan(paired({0: 1.0}, {0: 2.0}).p_value), "one pair proves nothing"
    assert paired({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}).p_value == 1.0
    assert paired({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}).p_value == 0.0


def test_holm_rejects_what_its_definition_rejects():
    """Step down: reject while the k-th smallest of m is at most alpha / (m − k + 1)."""
    rng = np.random.default_rng(0)
    for size, alpha in itertools.product((1, 2, 5, 12), (0.01, 0.05, 0.3)):
        p_values = rng.uniform(0, 0.2, size) ** 2
        rejected = set()
        for step, index in enumerate(np.argsort(p_values)):
            if p_values[index] > alpha / (size - step):
                break
            rejected.add(int(index))
        corrected = holm(p_values.tolist())
        assert {index for index, p in enumerate(corrected) if p <= alpha} == rejected
        assert all(0 <= p <= 1 for p in corrected)
    assert holm([0.5, math.nan, 0.9])[:1] == [1.0] and math.isnan(holm([0.5, math.nan])[1])
