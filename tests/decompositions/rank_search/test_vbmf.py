"""Empirical variational Bayes: planted ranks, and the free energy written a second time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from decompositions.core.frontier import Unfolding
from decompositions.cur import CUR
from decompositions.rank_search.rule import RankProblem
from decompositions.rank_search.vbmf import VBMF, evbmf_rank
from decompositions.svd import SVD, singular_energy
from decompositions.tucker import Tucker
from decompositions.tucker2 import Tucker2
from tests.decompositions.weights import site_of, weight_of


def planted(rows: int, columns: int, rank: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    left, right = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((rows, rank), (rank, columns)))
    return noise + 2 * left @ right


def rank_of(matrix: torch.Tensor) -> int:
    return evbmf_rank(Unfolding(singular_energy(matrix), tuple(matrix.shape)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rows", "columns"), [(60, 60), (40, 200), (200, 40), (64, 576), (7, 900)])
def test_the_planted_rank_is_found_at_every_scale(rows, columns, seed):
    for rank in (0, 1, min(rows, columns) // 8, min(rows, columns) // 3):
        matrix = planted(rows, columns, rank, seed)
        for scale in (1.0, 1e-8, 1e8):
            assert rank_of(matrix * scale) == rank


def published(rows: int, columns: int, sigma: np.ndarray):
    """Return the published free energy as a function of the variance, by plain loops, and the bar above the noise."""
    alpha = rows / columns
    tau_bar = 2.5129 * math.sqrt(alpha)
    bar = (1 + tau_bar) * (1 + alpha / tau_bar)

    def objective(variance):
        total = 0.0
        for s in sigma:
            x = s * s / (columns * variance)
            total += x - math.log(x)
            if x > bar:
                tau = 0.5 * (x - (1 + alpha) + math.sqrt((x - (1 + alpha)) ** 2 - 4 * alpha))
                total += math.log(tau + 1) + alpha * math.log(tau / alpha + 1) - tau
        return total

    return objective, bar


def noisy(seed: int, scale: float) -> tuple[torch.Tensor, np.ndarray]:
    """A 12×30 matrix of rank 3 in noise, and its singular values."""
    noise = torch.randn(12, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    matrix = scale * (planted(12, 30, 3, seed) + noise)
    return matrix, np.linalg.svd(matrix.numpy(), compute_uv=False)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_variance_is_the_minimum_of_the_free_energy_at_every_scale(scale):
    """By a fine grid, with the singular values themselves; the rank does not change with the scale."""
    for seed in range(5):
        matrix, sigma = noisy(seed, scale)
        objective, bar = published(12, 30, sigma)
        grid = np.geomspace(sigma[-1] ** 2 / 30 / bar, float(np.sum(sigma**2)) / 12 / 30, 20_001)
        variance = min(grid, key=objective)
        expected = sum(s * s > 30 * variance * bar for s in sigma)
        assert rank_of(matrix) == expected == rank_of(matrix / scale)


def test_the_minimiser_of_published_code_misses_the_minimum_for_small_noise():
    """It searches the variance itself, to within 1e-5: at the scale of weights it stops where it begins."""
    for scale, theirs in ((1.0, 3), (1e-3, 2)):
        matrix, sigma = noisy(0, scale)
        objective, bar = published(12, 30, sigma)
        first = math.ceil(12 / (1 + 12 / 30)) - 1  # the first value that cannot be signal
        low = max(sigma[first] ** 2 / (30 * bar), float(np.mean(sigma[first:] ** 2)) / 30)
        high = float(np.sum(sigma**2)) / 12 / 30
        variance = minimize_scalar(objective, bounds=(low, high), method="bounded").x
        assert sum(s * s > 30 * variance * bar for s in sigma) == theirs
        assert rank_of(matrix) == 3


@pytest.mark.parametrize(
    "matrix", [torch.zeros(4, 6), torch.eye(5), torch.ones(1, 9), torch.ones(9, 1), torch.ones(5, 7)]
)
def test_awkward_spectra_have_an_answer(matrix):
    assert 0 <= rank_of(matrix.double()) <= min(matrix.shape)


def test_weakening_lies_between_the_full_rank_and_the_estimate():
    site, weight = site_of((60, 80)), planted(60, 80, 6, 0)
    problem = RankProblem({"a": SVD().analyse(weight).frontier(site)}, 1.0)
    assert VBMF()(problem).ranks == {"a": 6}
    assert VBMF(weakening=0.8)(problem).ranks == {"a": 16}, "60 − 0.8 · 54 = 16.8"
    small = RankProblem({"a": SVD().analyse(planted(25, 80, 0, 0)).frontier(site_of((25, 80)), min_rank=0)}, 1.0)
    assert VBMF()(small).ranks == {"a": 0}
    assert VBMF(weakening=0.56)(small).ranks == {"a": 11}, "25 · 0.44 is 11, not 10.999…"
    assert "weakened by 0.8" in VBMF(weakening=0.8)(problem).reason


def test_every_mode_of_tucker_has_its_own_rank():
    factors = Tucker2().analyse(weight_of((30, 24, 3, 3))).decompose((5, 3))
    noise = torch.randn(30, 24, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weight = factors.to_tensor() * 10 + 0.05 * noise
    problem = RankProblem({"a": Tucker2().analyse(weight).frontier(site_of((30, 24, 3, 3)))}, 1.0)
    assert VBMF()(problem).ranks == {"a": (5, 3)}


def test_ranks_do_not_depend_on_the_rounding_of_absent_directions():
    """Zero rows, or the same spectrum rotated: what is left of it is rounding."""
    generator = torch.Generator().manual_seed(3)
    matrix = planted(60, 100, 4, 0)
    matrix[35:] = 0
    rotation = torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64))[0]
    assert rank_of(matrix) == rank_of(rotation @ matrix) == 4


def test_modes_vanish_together_and_layers_below_min_rank_stay_dense():
    noise = torch.randn(30, 24, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    frontier = Tucker2().analyse(noise).frontier(site_of((30, 24, 3, 3)), min_rank=0)
    for spectra in ((1, 0), (0, 1)):
        energies = [torch.tensor([100.0] * n + [1.0] * 9, dtype=torch.float64) for n in spectra]
        modes = tuple(Unfolding(energy, (len(energy), 999)) for energy in energies)
        assert VBMF()(RankProblem({"a": replace(frontier, unfoldings=modes)}, 1.0)).ranks == {"a": (0, 0)}
    narrow = SVD().analyse(planted(3, 80, 1, 0)).frontier(site_of((3, 80)), min_rank=5)
    assert VBMF()(RankProblem({"a": narrow}, 1.0)).ranks == {"a": None}


def test_a_format_without_spectra_is_refused_with_the_remedy():
    problem = RankProblem({"fc1": CUR().analyse(weight_of((12, 20))).frontier(site_of((12, 20)))}, 1.0)
    with pytest.raises(ValueError, match="layer fc1 has not; take decomposition=svd"):
        VBMF()(problem)


def test_a_mode_of_size_1_does_not_make_a_layer_vanish():
    """7 = 1 · 7: the unfolding of the mode of size 1 has one singular value, which is no noise."""
    generator = torch.Generator().manual_seed(0)
    left, middle, right = (torch.randn(size, generator=generator, dtype=torch.float64) for size in (7, 8, 8))
    noise = torch.randn(7, 64, generator=generator, dtype=torch.float64)
    weight = torch.outer(left, torch.outer(middle, right).flatten()) + 0.01 * noise
    frontier = Tucker().analyse(weight).frontier(site_of((7, 64)), min_rank=0)
    rank = VBMF()(RankProblem({"a": frontier}, 1.0)).ranks["a"]
    assert rank[0] == 1
    assert min(rank) >= 1
