"""Objectives: what a search minimises, of the validation part and of sizes, never of the test part."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest

from evaluation.objective import VALIDATION_ERROR, Number, Objective, best
from evaluation.result import Result
from tests.made_rows import measure, result


def row(validation: float = 90.0, size: int = 25, **changes) -> Result:
    compressed = measure(params=size, validation_top1_percent=validation, macs=10 * size, num_bytes=2 * size)
    reference = measure(params=100, macs=1000, num_bytes=400)
    return result(reference=reference, compressed=replace(compressed, **changes))


def test_weighted_sums_of_named_numbers():
    wanted = Objective(
        {"penalised": {"validation_error_percent": 1.0, "params_percent": 0.1}, "bytes": {"bytes_percent": 1.0}}
    )
    assert wanted.names == ["penalised", "bytes"]
    assert wanted(row(validation=91.0, size=30)) == pytest.approx({"penalised": 9 + 3, "bytes": 15})
    assert Objective({"macs": {"macs_percent": 2.0}})(row(size=30)) == pytest.approx({"macs": 60})


@pytest.mark.parametrize("number", get_args(Number))
def test_no_number_is_of_the_test_part(number):
    wanted = Objective({"it": {number: 1.0}})
    other = row(test_top1_percent=1.0, test_top5_percent=2.0, test_loss=9.0, untuned_test_top1_percent=3.0)
    assert wanted(other) == wanted(row())
    assert wanted(row(validation=1.0, size=99)) != wanted(row())


def test_what_has_no_objective():
    assert VALIDATION_ERROR(row(validation=math.nan)) is None
    assert VALIDATION_ERROR(replace(row(), status="diverged: loss is nan")) is None
    assert VALIDATION_ERROR(replace(row(), compressed=None)) is None


def test_best_is_the_least_or_what_none_dominates():
    assert best([{"a": 3.0}, {"a": 1.0}, {"a": 2.0}, {"a": 1.0}]) == [1, 3]
    assert best([{"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 2.0}, {"a": 2.0, "b": 3.0}, {"a": 3.0, "b": 1.0}]) == [0, 1, 3]
    assert best([]) == []
