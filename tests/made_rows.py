"""Rows as `run.py` leaves them, and rows of papers, made without running anything."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

from evaluation.reported import Reported
from evaluation.result import Measure, Result


def measure(top1=90.0, params=100, **changes) -> Measure:
    values = Measure(top1, None, 0.3, top1 - 1, params, 50, 900, {"1": 0.5, "256": 2.0}, {"1": 1.5, "256": 3.0}, 4, 1.5)
    return dataclasses.replace(values, **changes)


def result(seed=0, status="ok", variant="v", overrides=(), **changes) -> Result:
    choices = {"dataset": "digits", "network": "mlp", "method": "lc_svd"}
    values = Result(
        f"id{seed}", variant, status, choices, seed, {"seed": seed}, list(overrides), {"split": "s"}, {}, "now", 2.0,
        reference=measure(), compressed=measure(88.0 + seed, 25), layers={"fc1": {"rank": 3, "reason": None}},
        history=[{"step": 0, "penalty": 0.1, "ranks": {"fc1": 3}}],
    )  # fmt: skip
    return dataclasses.replace(values, **changes)


def published(name="paper/row", **changes) -> SimpleNamespace:
    known = {"source": "s", "place": "p", "provenance": "read", "cost": "c", "tolerance_points": 0.3} | changes
    choices = {"dataset": "digits", "network": "mlp", "method": "svd"}
    return SimpleNamespace(name=name, reported=Reported(**{"top1_percent": 90.0, **known}), choices=choices)
