"""Interpolative decomposition: some columns of a weight times coefficients, or coefficients times some rows [CGMR05].

    W ≈ C X,  C = W[:, J],  X = C⁺ W             or             W ≈ X R,  R = W[I, :],  X = W R⁺

The columns come in a nested order from column-pivoted QR, `W[:, order] = Q T` with `T` triangular, so one
factorisation gives the error of all ranks and the coefficients of any one, which are 1 and 0 at the chosen columns:

    ‖W − C_r X_r‖² = Σ_{i>r} ‖T_i‖²              X_r[:, order] = [ 1 | T_{≤r, ≤r}⁻¹ T_{≤r, >r} ]

The rows come in the same way from `Wᵀ`. Both sides store `r (rows + columns)` numbers, as much as an SVD of rank `r`;
each rank takes the side with the smaller error. CUR with its middle factor folded into one side [MD09] is as large
and, with the same columns, never better: its coefficients `C⁺ W R⁺ R` are confined to the span of its rows.

Differs from [CGMR05]: greedy pivots only, no exchanges after them that bound the coefficients [GE96].

[CGMR05] Cheng, Gimbutas, Martinsson & Rokhlin, On the compression of low rank matrices, SIAM J. Sci. Comput. 2005.
[MD09] Mahoney & Drineas, CUR matrix decompositions for improved data analysis, PNAS 2009.
[GE96] Gu & Eisenstat, Efficient algorithms for computing a strong rank-revealing QR factorization, SISC 1996.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float64
from torch import Tensor

from decompositions.core.frontier import Frontier, Rank
from decompositions.core.low_rank import TwoFactorFormat, TwoFactors, as_matrix, check_rank, two_factor_frontier
from decompositions.core.metric import SiteMetric
from decompositions.core.site import Site
from decompositions.core.whitening import Whitened
from decompositions.linalg.pivoted_qr import nested_basis, pivoted_triangle
from decompositions.linalg.spectrum import scaled, tails


@dataclass(frozen=True)
class Interpolative(TwoFactorFormat):
    """Write a weight with `rank` of its columns, or of its rows, and coefficients.

    >>> weight = torch.tensor([[4.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    >>> factors = Interpolative().analyse(weight).decompose(1)
    >>> factors.left.tolist(), factors.right.tolist()  # the second column is half the first
    ([[4.0], [0.0]], [[1.0, 0.5, 0.0]])
    """

    def analyse(self, weight: Tensor) -> InterpolativeAnalysis:
        """Compute the triangles of two pivoted QR factorisations, of the matrix and of its transpose."""
        matrix, scale = scaled(as_matrix(weight))
        array = matrix.cpu().numpy()
        return InterpolativeAnalysis(weight, scale, Interpolation.of(array), Interpolation.of(array.T))

    def analyse_in(self, weight: Tensor, metric: SiteMetric) -> InterpolativeAnalysis:
        """Compute both factorisations in a metric; inputs and outputs that matter more come first in their order."""
        matrix, scale = scaled(as_matrix(weight))
        whitened = Whitened.of(matrix, metric)
        columns = WeightedInterpolation.of(whitened.columns, whitened.input_weights, whitened.both)
        rows = WeightedInterpolation.of(whitened.rows.T, whitened.output_weights, whitened.both.T)
        return InterpolativeAnalysis(weight, scale, columns, rows)


@dataclass(frozen=True)
class Interpolation:
    """The columns of a matrix in pivoted order, `(columns,)`, and their triangle, `(k, columns)`, in that order.

    `squared_error` is that of the best fit of all columns by the first 0, 1, …, k of the order.
    """

    order: np.ndarray
    triangle: np.ndarray
    squared_error: Float64[Tensor, " rank"]

    @classmethod
    def of(cls, matrix: np.ndarray) -> Interpolation:
        """Factorise a finite matrix."""
        triangle, order = pivoted_triangle(matrix)
        return cls(order, triangle, tails(torch.from_numpy(np.square(triangle).sum(1))))

    def coefficients(self, rank: int) -> np.ndarray:
        """Return the coefficients, `(rank, columns)`, that give all columns from the first `rank` of the order."""
        pivots = np.abs(np.diag(self.triangle))
        # Columns within rounding of the span of those before give themselves only: what they would give the others is
        # a quotient of two roundings, which another machine makes differently.
        known = min(rank, int((pivots > pivots.max() * max(self.triangle.shape) * np.finfo(float).eps).sum()))
        coefficients = np.eye(rank, len(self.order))
        if known:
            inside, outside = self.triangle[:known, :known], self.triangle[:known, rank:]
            coefficients[:known, rank:] = scipy.linalg.solve_triangular(inside, outside, check_finite=False)
        return coefficients[:, np.argsort(self.order)]


@dataclass(frozen=True)
class WeightedInterpolation:
    """The same in a metric: `L_out W` (of the rows, `(W L_in)ᵀ`) by its columns, whose best coefficients are those of
    any metric of the other side; the error is that of `L_out W L_in`.
    """

    order: np.ndarray
    columns: np.ndarray
    squared_error: Float64[Tensor, " rank"]

    @classmethod
    def of(cls, columns: np.ndarray, weights: np.ndarray, both: np.ndarray) -> WeightedInterpolation:
        """Factorise `columns`, in the pivoted order of the columns times `weights`."""
        basis, order = nested_basis(columns, weights)
        gain = np.square(basis.T @ both).sum(1)
        outside = max(float(np.square(both).sum() - gain.sum()), 0.0)
        return cls(order, columns, tails(torch.from_numpy(gain)) + outside)

    def coefficients(self, rank: int) -> np.ndarray:
        """Return the coefficients, `(rank, columns)`, that give all columns from the first `rank` of the order."""
        if rank == 0:
            return np.zeros((0, self.columns.shape[1]))
        return np.linalg.lstsq(self.columns[:, self.order[:rank]], self.columns, rcond=None)[0]


@dataclass(frozen=True)
class InterpolativeAnalysis:
    """A weight with the interpolations of its columns and of its rows, both at largest entry 1 (`weight / scale`)."""

    weight: Tensor
    scale: float
    columns: Interpolation | WeightedInterpolation
    rows: Interpolation | WeightedInterpolation

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return every useful rank, with its exact error: that of the better side."""
        columns, rows = (side.squared_error * self.scale**2 for side in (self.columns, self.rows))
        errors = torch.minimum(columns, rows)
        return two_factor_frontier(errors, site, float(columns[0]), min_rank, dense=dense, multiple_of=multiple_of)

    def decompose(self, rank: Rank) -> TwoFactors:
        """Return `left`, columns of the weight as they are, and their coefficients; or coefficients, and `right`, rows.

        Of equally good sides it is the columns.
        """
        weight, rank = self.weight.detach(), check_rank(self.weight, rank)
        matrix = as_matrix(weight)
        by_columns = bool(self.columns.squared_error[rank] <= self.rows.squared_error[rank])
        side = self.columns if by_columns else self.rows
        chosen = torch.from_numpy(side.order[:rank].astype(np.int64)).to(weight.device)
        coefficients = torch.from_numpy(side.coefficients(rank)).to(weight)
        if by_columns:
            return TwoFactors(matrix[:, chosen], coefficients, tuple(weight.shape))
        return TwoFactors(coefficients.T.contiguous(), matrix[chosen], tuple(weight.shape))
