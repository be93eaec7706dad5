"""Column-pivoted QR: the columns of a matrix in nested order, each the farthest from the span of those before [BG65].

[BG65] Businger & Golub, Linear least squares solutions by Householder transformations, Numer. Math. 7, 1965.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.linalg
from threadpoolctl import ThreadpoolController


def pivoted_basis(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an orthonormal basis of the columns in pivoted order, `(rows, k)`, and that order, `(columns,)`."""
    with _blas().limit(limits=1, user_api="blas"):
        basis, _, order = scipy.linalg.qr(matrix, mode="economic", pivoting=True, check_finite=False)
    return basis, order


def nested_basis(matrix: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an orthonormal basis of the columns, `(rows, k)`, in the pivoted order of the columns times `weights`."""
    with _blas().limit(limits=1, user_api="blas"):
        _, order = scipy.linalg.qr(matrix * weights, mode="r", pivoting=True, check_finite=False)
        basis, _ = scipy.linalg.qr(matrix[:, order[: min(matrix.shape)]], mode="economic", check_finite=False)
    return basis, order


def pivoted_triangle(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `Qᵀ matrix[:, order]`, triangular, `(k, columns)`, and the order, `(columns,)`; `Q` is never formed.

    >>> triangle, order = pivoted_triangle(np.array([[0.0, 2.0, 2.0], [0.0, 0.0, 1.0]]))
    >>> order.tolist(), np.abs(triangle[0, 0]).round(6).tolist()  # the longest column comes first
    ([2, 1, 0], 2.236068)
    """
    with _blas().limit(limits=1, user_api="blas"):
        triangle, order = scipy.linalg.qr(matrix, mode="r", pivoting=True, check_finite=False)
    return triangle[: min(matrix.shape)], order


@functools.cache
def _blas() -> ThreadpoolController:
    """Return the control of SciPy's threads, which fight with torch's: pivoted QR is three times faster on one core."""
    return ThreadpoolController()
