"""TT-SVD against TensorLy, and the hull against brute force over all bond ranks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorly
import torch
from tensorly.decomposition import tensor_train

from decompositions.linalg.tt_svd import bond_limits, contract, hull, num_params, tt_svd, unfolding_spectra
from tests.decompositions.weights import tensor_of


def tails_of(tensor: torch.Tensor) -> list[np.ndarray]:
    return [np.append(np.cumsum(e.numpy()[::-1])[::-1], 0.0) for e in unfolding_spectra(tensor)[0]]


@pytest.mark.parametrize("sizes", [(4, 5, 6), (2, 3, 2, 3), (6, 1, 5), (7, 3)], ids=str)
def test_cores_are_as_good_as_tensorly_and_within_both_bounds(sizes):
    tensor = tensor_of(sizes)
    limits = bond_limits(sizes)
    choices = [[max(1, int(fraction * limit)) for limit in limits] for fraction in (0.3, 0.6, 1.0)]
    # Nothing is dropped before the last bond: the bases known serve as far as they can.
    for ranks in [*choices, [*limits[:-1], max(1, limits[-1] - 1)]]:
        ours = contract(tt_svd(tensor, ranks, unfolding_spectra(tensor)[1])).reshape(sizes)
        ours = float((ours - tensor).square().sum())
        cores = tensor_train(tensor.numpy(), rank=[1, *ranks, 1])
        theirs = float(np.sum((tensorly.tt_to_tensor(cores) - tensor.numpy()) ** 2))
        assert ours == pytest.approx(theirs, rel=1e-8, abs=1e-12)
        tails = [tail[rank] for tail, rank in zip(tails_of(tensor), ranks, strict=True)]
        assert max(tails) * (1 - 1e-9) - 1e-9 <= ours <= sum(tails) * (1 + 1e-9) + 1e-9


def test_unfolding_spectra_are_the_squared_singular_values():
    tensor = tensor_of((4, 5, 6))
    for k, energy in enumerate(unfolding_spectra(tensor)[0], start=1):
        matrix = tensor.reshape(math.prod(tensor.shape[:k]), -1).numpy()
        sigma = np.linalg.svd(matrix, compute_uv=False)
        assert energy.numpy() == pytest.approx(sigma**2, rel=1e-9)


@pytest.mark.parametrize("sizes", [(3, 4, 5), (2, 3, 3, 2), (6, 7)], ids=str)
@pytest.mark.parametrize("min_rank", [1, 2])
def test_the_hull_is_that_of_all_rank_tuples(sizes, min_rank):
    """Brute force: no possible tuple has a smaller parameters + θ · bound, for any θ, than a point of the hull."""
    for seed in range(3):
        tensor = tensor_of(sizes, seed) * torch.linspace(1, 0.1, sizes[-1], dtype=torch.float64)
        tails = tails_of(tensor)
        points = hull(sizes, tails, min_rank, max_params=10**9)

        def price(ranks, theta, sizes=sizes, tails=tails):
            return num_params(sizes, ranks) + theta * sum(t[r] for t, r in zip(tails, ranks, strict=True))

        tuples = [
            ranks
            for ranks in itertools.product(*(range(min_rank, limit + 1) for limit in bond_limits(sizes)))
            if all(
                a <= n * b and b <= n * a for (a, b), n in zip(itertools.pairwise((1, *ranks, 1)), sizes, strict=True)
            )
        ]
        for theta in np.geomspace(1e-3, 1e6, 60):
            assert min(price(r, theta) for r in points) <= min(price(r, theta) for r in tuples) * (1 + 1e-9)
