"""Truncated SVD against NumPy and TensorLy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorly
import torch

from decompositions.spatial_svd import SpatialSVD
from decompositions.svd import SVD, singular_energy
from tests.decompositions.weights import SHAPES, site_of, weight_of


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_svd_is_the_best_of_its_rank(shape):
    """Against NumPy's singular values and TensorLy's truncated SVD, which share no code with ours."""
    weight = weight_of(shape)
    matrix = weight.reshape(shape[0], -1).numpy()
    sigma = np.linalg.svd(matrix, compute_uv=False)
    assert singular_energy(weight).numpy() == pytest.approx(sigma**2, rel=1e-9, abs=1e-12)
    for rank in range(1, min(matrix.shape) + 1):
        u, s, v = tensorly.tenalg.svd_interface(matrix, n_eigenvecs=rank, method="truncated_svd")
        ours = SVD().analyse(weight).decompose(rank).to_tensor().reshape(matrix.shape).numpy()
        assert ours == pytest.approx((u * s) @ v, abs=1e-9)


def test_a_direction_without_energy_can_still_be_trained():
    """One factor is zero and the other is not: the first can grow."""
    for weight in (torch.zeros(5, 7), weight_of((5, 7), rank=1).float()):
        factors = SVD().analyse(weight).decompose(3)
        norms = torch.maximum(factors.left.norm(dim=0), factors.right.norm(dim=1))
        assert norms.min() > 1e-3
        assert factors.to_tensor().isfinite().all()


@pytest.mark.parametrize("shape", [(6, 4, 5), (6, 4, 3, 3), (7, 3, 2, 3, 2)], ids=str)
def test_spatial_svd_is_the_best_of_its_rank_for_the_moved_axis(shape):
    """The error of a rank is the tail of NumPy's singular values of `(out k_h) × (in k_w)`."""
    weight = weight_of(shape)
    matrix = np.moveaxis(weight.numpy(), 1, 2).reshape(shape[0] * shape[2], -1)
    sigma = np.linalg.svd(matrix, compute_uv=False)
    frontier = SpatialSVD().analyse(weight).frontier(site_of(shape))
    assert len(frontier) > 2
    for i in range(len(frontier) - 1):
        rank = frontier.rank(i)
        assert float(frontier.squared_error[i]) == pytest.approx(np.sum(sigma[rank:] ** 2), rel=1e-9)
        error = (weight - SpatialSVD().analyse(weight).decompose(rank).to_tensor()).square().sum()
        assert float(error) == pytest.approx(np.sum(sigma[rank:] ** 2), rel=1e-6)
