"""The interpolative decomposition against greedy least squares, the SVD and CUR."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decompositions.core.low_rank import TwoFactors, as_matrix
from decompositions.cur import CUR
from decompositions.interpolative import Interpolative
from decompositions.svd import SVD
from tests.decompositions.weights import SHAPES, site_of, weight_of


def greedy_errors(matrix: np.ndarray) -> list[float]:
    """The squared error of least squares on 0, 1, … columns, each the one that those before explain least."""
    chosen, errors, left = [], [float(np.square(matrix).sum())], matrix
    for _ in range(min(matrix.shape)):
        chosen.append(int(np.square(left).sum(0).argmax()))
        left = matrix - matrix[:, chosen] @ np.linalg.lstsq(matrix[:, chosen], matrix, rcond=None)[0]
        errors.append(float(np.square(left).sum()))
    return errors


def chosen_of(weight: torch.Tensor, factors: TwoFactors) -> tuple[str, list[int], torch.Tensor]:
    """The side, the columns or rows of the weight that a factor holds bit for bit, and the coefficients `(rank, all)`.

    Fails if neither factor is made of them.
    """
    matrix = as_matrix(weight)
    for side, vectors, parts, coefficients in (
        ("columns", matrix.T, factors.left.T, factors.right),
        ("rows", matrix, factors.right, factors.left.T),
    ):
        found = [(vectors == part).all(1).nonzero()[:, 0].tolist() for part in parts]
        if all(found):
            return side, [indices[0] for indices in found], coefficients
    pytest.fail("neither factor is made of columns or rows of the weight")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_rank_has_the_error_of_greedy_least_squares_on_the_better_side(shape):
    weight, site = weight_of(shape), site_of(shape)
    matrix, analysis = as_matrix(weight).numpy(), Interpolative().analyse(weight)
    sides = greedy_errors(matrix), greedy_errors(matrix.T)
    expected = np.minimum(*sides)
    norm = expected[0]
    frontier = analysis.frontier(site, min_rank=0)
    assert frontier.rank(0) == 0
    for i in range(len(frontier) - 1):
        assert float(frontier.squared_error[i]) == pytest.approx(expected[frontier.rank(i)], rel=1e-9, abs=1e-12 * norm)
    for rank in range(len(expected)):
        factors = analysis.decompose(rank)
        error = float((weight - factors.to_tensor()).square().sum())
        assert error == pytest.approx(expected[rank], rel=1e-9, abs=1e-12 * norm)
        if abs(sides[0][rank] - sides[1][rank]) > 1e-9 * norm:
            side, _, _ = chosen_of(weight, factors)
            assert side == ("columns" if sides[0][rank] < sides[1][rank] else "rows")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_a_factor_is_columns_or_rows_of_the_weight_bit_for_bit(shape, dtype):
    weight = weight_of(shape).to(dtype)
    analysis = Interpolative().analyse(weight)
    for rank in range(1, min(as_matrix(weight).shape) + 1):
        factors = analysis.decompose(rank)
        assert factors.left.dtype == factors.right.dtype == dtype
        _, chosen, coefficients = chosen_of(weight, factors)
        assert len(set(chosen)) == rank
        assert torch.equal(coefficients[:, chosen], torch.eye(rank, dtype=dtype)), "the chosen ones give themselves"


def test_the_transposed_weight_has_the_transposed_factors():
    """So both sides are the same work; the better one of this weight is its rows, but for some ranks."""
    weight, sides = weight_of((12, 20)), set()
    analysis, transposed = Interpolative().analyse(weight), Interpolative().analyse(weight.T)
    for rank in range(1, 12):
        factors, others = analysis.decompose(rank), transposed.decompose(rank)
        assert torch.allclose(factors.left, others.right.T, atol=1e-12)
        assert torch.allclose(factors.right, others.left.T, atol=1e-12)
        sides.add((chosen_of(weight, factors)[0], chosen_of(weight.T, others)[0]))
    assert sides == {("rows", "columns"), ("columns", "rows")}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_never_better_than_svd_nor_worse_than_cur(shape):
    """CUR starts from the same columns, and gives up some of their span for rows."""
    weight, site = weight_of(shape), site_of(shape)
    svd, ours, cur = (format.analyse(weight).frontier(site) for format in (SVD(), Interpolative(), CUR()))
    assert len(svd) == len(ours) == len(cur)
    slack = 1e-12 * ours.squared_norm
    assert (ours.squared_error >= svd.squared_error * (1 - 1e-9) - slack).all()
    assert (ours.squared_error <= cur.squared_error * (1 + 1e-9) + slack).all()
    if len(svd) > 2:
        assert (ours.squared_error > svd.squared_error * 1.001).any()  # it would not be columns or rows
        assert (ours.squared_error < cur.squared_error * 0.999).any()  # it would be CUR


@pytest.mark.parametrize("noise", [0.0, 1e-16])
def test_columns_that_the_others_give_have_no_part_in_the_rest(noise):
    """Beyond the true rank they differ from what the others give by rounding alone."""
    weight = weight_of((12, 20), rank=3) + noise * weight_of((12, 20))
    for rank in range(3, 12):
        factors = Interpolative().analyse(weight).decompose(rank)
        assert torch.allclose(factors.to_tensor(), weight, atol=1e-12)
        _, chosen, coefficients = chosen_of(weight, factors)
        others = [i for i in range(coefficients.shape[1]) if i not in chosen]
        assert coefficients[:3, others].abs().min() > 0
        assert coefficients[3:, others].abs().sum() == 0


def test_a_direction_without_energy_can_still_be_trained():
    """A zero column has a coefficient of 1 that moves it."""
    for weight in (torch.zeros(5, 7), weight_of((5, 7), rank=1).float()):
        factors = Interpolative().analyse(weight).decompose(3)
        norms = torch.maximum(factors.left.norm(dim=0), factors.right.norm(dim=1))
        assert norms.min() >= 1


@pytest.mark.parametrize(("dtype", "exponent"), [(torch.float32, 120), (torch.float64, 1000)], ids=str)
def test_no_weight_is_too_large_or_too_small(dtype, exponent):
    """At a scale that squares do not survive, the coefficients are the same bits."""
    weight = weight_of((12, 20)).to(dtype)
    for scale in (2.0**exponent, 2.0**-exponent):
        for rank in (1, 5, 12):
            expected = Interpolative().analyse(weight).decompose(rank)
            factors = Interpolative().analyse(weight * scale).decompose(rank)
            side, chosen, coefficients = chosen_of(weight * scale, factors)
            assert (side, chosen) == chosen_of(weight, expected)[:2]
            assert torch.equal(coefficients, chosen_of(weight, expected)[2])


def test_the_same_weight_has_the_same_factors_in_any_layout():
    weight = weight_of((6, 4, 3, 3)).float()
    expected = Interpolative().analyse(weight).decompose(3)
    for same in (weight.to(memory_format=torch.channels_last), torch.nn.Parameter(weight)):
        factors = Interpolative().analyse(same).decompose(3)
        assert torch.equal(factors.left, expected.left)
        assert torch.equal(factors.right, expected.right)
        assert not factors.left.requires_grad
