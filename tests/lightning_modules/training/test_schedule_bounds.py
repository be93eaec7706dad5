"""Numbers of a schedule that no run could end with are refused before anything trains."""

from __future__ import annotations

import pytest

from lightning_modules.training.schedule import Penalty
from orchestration.errors import ConfigError
from orchestration.run.build import build_components
from orchestration.run.run_point import run_point


@pytest.mark.parametrize("override", ["schedule.scale=1e300", "schedule.reference.epochs=1000001"])
def test_more_than_a_million_epochs_are_refused(make_point, override):
    with pytest.raises(ConfigError, match=r"schedule.reference.epochs: expected int >= 0, <= 1000000"):
        make_point(override, tiny=False)


def test_an_infinite_scale_is_refused(make_point):
    with pytest.raises(ConfigError, match=r"schedule.scale: expected a finite number"):
        make_point("schedule.scale=inf", tiny=False)


@pytest.mark.parametrize(("initial", "growth"), [(1e38, 2.0), (1e300, 1.0), (1.0, 1e30)])
def test_a_weight_beyond_32_bits_is_refused_before_the_reference_is_trained(make_point, initial, growth):
    assert Penalty(1e37, 2.0, 3).weight(3) < 1e38
    with pytest.raises(ConfigError, match=r"schedule.penalty: expected a weight of at most 1e\+38"):
        build_components(make_point(f"schedule.penalty.initial={initial}", f"schedule.penalty.growth={growth}"))


def test_a_weight_that_is_hardly_above_zero_diverges(make_point):
    """β/μ is infinite: no fault of the program, and no failure."""
    row = run_point(make_point("network.hidden=[8]", "schedule.penalty.initial=1e-320"))
    assert row.status.startswith("diverged: fc1: W − β/μ is NaN or infinite at μ = ")
