"""Pivoted QR in the two ways that formats ask for it."""

from __future__ import annotations

import numpy as np
import pytest

from decompositions.linalg.pivoted_qr import pivoted_basis, pivoted_triangle
from tests.decompositions.weights import weight_of


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (13, 13), (1, 9), (9, 1)], ids=str)
def test_basis_and_triangle_are_of_one_factorisation(shape):
    matrix = weight_of(shape).numpy()
    basis, order = pivoted_basis(matrix)
    triangle, same_order = pivoted_triangle(matrix)
    assert order.tolist() == same_order.tolist()
    assert sorted(order) == [*range(shape[1])]
    assert basis.T @ basis == pytest.approx(np.eye(min(shape)), abs=1e-12)
    assert basis @ triangle == pytest.approx(matrix[:, order], abs=1e-12)
    assert triangle == pytest.approx(np.triu(triangle), abs=0)


def test_each_column_is_the_farthest_from_those_before():
    """What the triangle leaves of column j after i columns is the norm of its entries from i on."""
    triangle, _ = pivoted_triangle(weight_of((12, 20)).numpy())
    for i in range(12):
        left = np.linalg.norm(triangle[i:, i:], axis=0)
        assert left[0] == pytest.approx(left.max(), rel=1e-12)
