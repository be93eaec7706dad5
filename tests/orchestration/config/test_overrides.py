"""Command lines as Hydra gets them."""

from __future__ import annotations

import pytest

from orchestration.config.overrides import normalize_overrides


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("seed=1 rank.weight=2", "seed=1 rank.weight=2"),
        ("seed=0,1 -m", "-m seed=0,1"),
        ("x.y=1 --multirun seed=0,1", "--multirun x.y=choice(1) seed=0,1"),
        ("-m rank.weight=1,2 rank=cost", "-m rank.weight=1,2 rank=cost"),
        ("-m rank.ranks={a:1,b:2}", "-m rank.ranks=choice({a:1,b:2})"),
        ("-m network.hidden=[3,4] +a.b=1 ~c.d", "-m network.hidden=choice([3,4]) +a.b=choice(1) ~c.d"),
        ("-m +hydra.job.env_set.X=1 ++trainer.y=2", "-m +hydra.job.env_set.X=1 ++trainer.y=2"),
        ("-m hydra.x.y=1 rank.weight=[1 a.b=", "-m hydra.x.y=1 rank.weight=[1 a.b="),
        ("-m dataset.root='3' a.b=1", "-m dataset.root='3' a.b=choice(1)"),
        ("-m rank.weight=range(1,3)", "-m rank.weight=range(1,3)"),
        ("--cfg job rank.weight=1", "--cfg job rank.weight=1"),
    ],
)
def test_flags_come_first_and_fixed_values_of_a_sweep_wait_for_their_group(given, expected):
    assert normalize_overrides(given.split()) == expected.split()
