"""The bound of TT-SVD's error against the error itself, for all bond ranks, and against projections by NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from decompositions.linalg.spectrum import tails
from decompositions.linalg.tt_bound import error_bound, shared_energies
from decompositions.linalg.tt_svd import bond_limits, contract, tt_svd, unfolding_spectra
from decompositions.tt import TT
from tests.decompositions.weights import site_of, tensor_of, weight_of

SIZES = [(4, 5, 6), (2, 3, 2, 3), (2, 2, 4, 2, 2), (6, 1, 5), (7, 3), (2, 2, 9), (12, 2, 3)]


def falling(sizes: tuple[int, ...]) -> torch.Tensor:
    """Each index weaker than the one before, in every mode."""
    tensor = tensor_of(sizes)
    for mode, size in enumerate(sizes):
        tensor = (tensor.movedim(mode, -1) * torch.logspace(0, -1, size, dtype=torch.float64)).movedim(-1, mode)
    return tensor


def tied(sizes: tuple[int, ...]) -> torch.Tensor:
    """All singular values of the middle unfolding are equal: every basis is one of its leading ones."""
    rows = math.prod(sizes[: len(sizes) // 2])
    columns = math.prod(sizes) // rows
    square = torch.linalg.qr(tensor_of((max(rows, columns),) * 2))[0]
    return square[:rows, :columns].reshape(sizes)


def of_low_rank(sizes: tuple[int, ...]) -> torch.Tensor:
    bonds = (1, *[min(2, limit) for limit in bond_limits(sizes)], 1)
    shapes = [(a, size, b) for (a, b), size in zip(itertools.pairwise(bonds), sizes, strict=True)]
    return contract([tensor_of(shape) for shape in shapes]).reshape(sizes)


def possible_ranks(sizes):
    """All bond ranks that a train of these sizes can have."""
    for ranks in itertools.product(*(range(1, limit + 1) for limit in bond_limits(sizes))):
        pairs = zip(itertools.pairwise((1, *ranks, 1)), sizes, strict=True)
        if all(a <= n * b and b <= n * a for (a, b), n in pairs):
            yield ranks


def bounds(tensor, ranks):
    """Return the sum over bonds and the sharper bound of each tuple of ranks."""
    energies, bases = unfolding_spectra(tensor)
    beyond, shared, points = [tails(e) for e in energies], shared_energies(tensor, bases), torch.tensor(ranks)
    return error_bound(tensor.shape, beyond, [], points), error_bound(tensor.shape, beyond, shared, points)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("make", [tensor_of, falling, tied, of_low_rank])
def test_no_error_is_above_the_bound_and_no_bound_above_the_sum(sizes, make):
    tensor = make(sizes)
    ranks = [*possible_ranks(sizes)]
    total, sharp = bounds(tensor, ranks)
    bases, norm = unfolding_spectra(tensor)[1], float(tensor.square().sum())
    for point, rank in enumerate(ranks):
        error = float((contract(tt_svd(tensor, rank, bases)).reshape(sizes) - tensor).square().sum())
        assert error <= float(sharp[point]) * (1 + 1e-9) + 1e-12 * norm, rank
    assert (sharp <= total).all()
    assert (sharp >= total / 2 - 1e-12 * norm).all() or len(sizes) > 3, "of two bonds at most half is shared"


@pytest.mark.parametrize("seed", range(5))
def test_where_singular_values_are_equal_the_cores_have_the_bases_of_the_bound(seed):
    """Of four equally strong directions on the left two are kept; which two decides what the right bond drops."""
    strength = torch.tensor([10.0, 10.0, 1.0, 1.0, 1.0, 1.0], dtype=torch.float64).sqrt()
    rows = torch.zeros(6, 3, 3, dtype=torch.float64)
    for row, place in enumerate([(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2)]):
        rows[row][place] = strength[row]
    tensor = torch.tensordot(torch.linalg.qr(tensor_of((6, 6), seed))[0], rows, 1).reshape(2, 3, 3, 3)
    cores = tt_svd(tensor, (2, 4, 2), unfolding_spectra(tensor)[1])
    error = float((contract(cores).reshape(tensor.shape) - tensor).square().sum())
    bound = float(bounds(tensor, [(2, 4, 2)])[1])
    assert 0.98 * bound < error <= bound * (1 + 1e-9)


@pytest.mark.parametrize(("sizes", "first_right"), [((4, 5, 6), 1), ((2, 3, 2, 3), 2), ((2, 2, 4, 2, 2), 2)], ids=str)
def test_what_is_saved_is_the_energy_that_both_bonds_drop(sizes, first_right):
    """Projections on singular vectors by NumPy; of the bonds before the first that drops something, none counts."""
    tensor = falling(sizes)
    limits, ranks = bond_limits(sizes), [*possible_ranks(sizes)]
    total, sharp = bounds(tensor, ranks)
    matrix = [tensor.reshape(math.prod(sizes[: k + 1]), -1).numpy() for k in range(len(sizes) - 1)]
    for point, rank in enumerate(ranks):
        right = np.linalg.svd(matrix[first_right])[2][rank[first_right] :]
        dropped = (tensor.reshape(-1, right.shape[1]).numpy() @ right.T @ right).reshape(sizes)
        best = 0.0
        for j in range(first_right):
            if rank[:j] == tuple(limits[:j]):
                left = np.linalg.svd(matrix[j])[0][:, rank[j] :]
                best = max(best, float(np.square(left.T @ dropped.reshape(len(left), -1)).sum()))
        assert float(total[point] - sharp[point]) == pytest.approx(best, rel=1e-9, abs=1e-12)
    assert (sharp < total * 0.95).any()


def test_the_frontier_of_a_convolution_is_near_the_error_of_its_cores():
    """With falling singular values the sum alone is up to 1.3 times the error."""
    u, s, v = torch.linalg.svd(weight_of((64, 64, 3, 3)).flatten(1), full_matrices=False)
    weight = (u * torch.logspace(0, -1.5, len(s), dtype=torch.float64) @ v).reshape(64, 64, 3, 3)
    analysis, site = TT().analyse(weight), site_of((64, 64, 3, 3))
    frontier = analysis.frontier(site)
    beyond, ratios, of_sum = [tails(energy) for energy in analysis.energies], [], []
    for point in range(len(frontier) - 1):
        if 0.1 < float(frontier.num_params[point]) / site.num_params < 0.5:
            rank = frontier.rank(point)
            error = float((weight - analysis.decompose(rank).to_tensor()).square().sum())
            ratios.append(error / float(frontier.squared_error[point]))
            of_sum.append(error / sum(float(tail[r]) for tail, r in zip(beyond, rank, strict=True)))
    assert len(ratios) > 10
    assert 0.9 < min(ratios) <= max(ratios) <= 1 + 1e-9
    assert min(of_sum) < 0.8
