"""Splits at random."""

from __future__ import annotations

import pytest

from datamodules.data import hold_out


@pytest.mark.parametrize(("num", "held"), [(10, 3), (100, 0), (7, 7)])
def test_hold_out_is_a_partition(num, held):
    kept, out = hold_out(num, held, seed=5)
    assert len(out) == held
    assert sorted([*kept.tolist(), *out.tolist()]) == list(range(num))
