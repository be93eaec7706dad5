"""HOOI runs until its bases stay: as good as many sweeps, and no longer than it takes."""

from __future__ import annotations

import pytest
import torch

from decompositions import tucker, tucker2
from decompositions.linalg.hooi import hooi
from decompositions.tucker import Tucker
from decompositions.tucker2 import Tucker2
from tests.decompositions.weights import weight_of


def error_of(format, weight, rank):
    return float((weight - format.analyse(weight).decompose(rank).to_tensor()).square().sum())


@pytest.mark.parametrize(
    ("format", "shape", "rank"),
    [(Tucker2, (32, 32, 3, 3), (8, 8)), (Tucker2, (24, 40, 3, 3), (12, 20)), (Tucker, (64, 100), (4, 4, 5, 5))],
    ids=str,
)
def test_the_defaults_converge(format, shape, rank):
    """On noise, the slowest of all: two sweeps are short of the error that hundreds reach, the defaults are not."""
    weight = weight_of(shape)
    best = error_of(format(max_sweeps=400, tolerance=0.0), weight, rank)
    assert error_of(format(max_sweeps=2), weight, rank) > best * 1.003
    assert best * (1 - 1e-12) <= error_of(format(), weight, rank) <= best * 1.003


@pytest.fixture
def count(monkeypatch):
    """Return a function that counts the Gram matrices of `hooi` in a decomposition."""

    def count(format, weight, rank):
        analysis, calls = format.analyse(weight), []

        def counting(gram, bases, squared_norm, **options):
            return hooi(lambda *at: calls.append(at[1]) or gram(*at), bases, squared_norm, **options)

        for module in (tucker, tucker2):
            monkeypatch.setattr(module, "hooi", counting)
        analysis.decompose(rank)
        monkeypatch.undo()
        return len(calls)

    return count


@pytest.mark.parametrize(
    ("format", "shape", "rank"), [(Tucker2, (32, 32, 3, 3), (8, 8)), (Tucker, (36, 49), (3, 3, 3, 3))], ids=str
)
def test_both_options_end_the_sweeps(count, format, shape, rank):
    weight, modes = weight_of(shape), len(rank)
    assert count(format(max_sweeps=3, tolerance=0.0), weight, rank) == 3 * modes
    assert count(format(max_sweeps=0), weight, rank) == 0
    loose, default, tight = (count(format(tolerance=share), weight, rank) for share in (1e-1, 1e-4, 1e-6))
    assert 2 * modes == loose < default < tight <= 50 * modes


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_a_weight_of_these_ranks_takes_two_sweeps_at_any_scale(count, scale):
    """Its error is rounding, of which no share is ever small enough."""
    weight = Tucker2().analyse(weight_of((32, 24, 3, 3))).decompose((5, 4)).to_tensor() * scale
    assert count(Tucker2(tolerance=0.0), weight, (5, 4)) == 4


def test_one_mode_that_is_cut_alone_is_at_its_best_already(count):
    weight = weight_of((8, 6, 3, 3))
    for rank in ((8, 3), (3, 6), (8, 6), (0, 0)):
        assert count(Tucker2(), weight, rank) == 0
    unfolding = weight.movedim(1, 0).flatten(1)
    best = float(torch.linalg.svdvals(unfolding)[3:].square().sum())
    assert error_of(Tucker2(), weight, (8, 3)) == pytest.approx(best, rel=1e-9)
