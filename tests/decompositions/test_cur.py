"""CUR against pseudo-inverses and against the SVD."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from decompositions.cur import CUR
from decompositions.svd import SVD
from tests.decompositions.weights import SHAPES, site_of, weight_of


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cur_is_made_of_columns_and_the_best_middle(shape):
    """Against pseudo-inverses, rank by rank."""
    weight = weight_of(shape)
    matrix = weight.reshape(shape[0], -1).numpy()
    for rank in range(1, min(matrix.shape) + 1):
        factors = CUR().analyse(weight).decompose(rank)
        left = factors.left.numpy()
        columns = [int(np.argmin(np.abs(matrix - left[:, [i]]).sum(0))) for i in range(rank)]
        assert len(set(columns)) == rank
        assert left == pytest.approx(matrix[:, columns], abs=1e-14)
        # C C⁺ W R⁺ R by pseudo-inverses, R being the first rows of the pivoted order.
        rows = matrix[scipy.linalg.qr(matrix.T, mode="r", pivoting=True)[1][:rank]]
        best = left @ np.linalg.pinv(left) @ matrix @ np.linalg.pinv(rows) @ rows
        assert factors.to_tensor().reshape(matrix.shape).numpy() == pytest.approx(best, abs=1e-8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cur_never_beats_svd_at_equal_rank(shape):
    weight, site = weight_of(shape), site_of(shape)
    svd, cur = SVD().analyse(weight).frontier(site), CUR().analyse(weight).frontier(site)
    assert len(svd) == len(cur)
    assert (cur.squared_error >= svd.squared_error * (1 - 1e-9) - 1e-12).all()
    if len(svd) > 2:
        assert (cur.squared_error > svd.squared_error * 1.001).any()  # it would not be CUR
