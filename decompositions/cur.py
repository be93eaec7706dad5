"""CUR: a weight as some of its own columns and rows, `W ≈ C U R` with the best middle factor `U = C⁺ W R⁺` [MD09].

Columns and rows come in nested orders from column-pivoted QR of `W` and of `Wᵀ` [SC10]. With the orthonormal bases
`Q_C`, `Q_R` of these orders and `M = Q_Cᵀ W Q_R`,

    ‖W − C_c U R_r‖² = ‖W‖² − Σ_{i≤c, j≤r} M_ij²

so two factorisations and one cumulative sum give the error of all ranks; a loop would need a pair of pseudo-inverses
for each. The number of columns and of rows is the same here, `c = r`, and `U` is folded into the rows, which makes
CUR as large as an SVD of that rank. What is stored is then columns times coefficients, and for the same columns the
format `interpolative` has the best ones.

Differs from [MD09]: no random sampling, the same weight always gives the same columns.
Source for its use in learning-compression: Cai et al. 2023 (Appl. Sci. 13:2704); which rows and columns that paper
takes is not at hand: this is a reconstruction.

[MD09] Mahoney & Drineas, CUR matrix decompositions for improved data analysis, PNAS 2009.
[SC10] Stewart, Four algorithms for the efficient computation of truncated pivoted QR approximations, 1999.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from decompositions.core.frontier import Frontier, Rank
from decompositions.core.low_rank import TwoFactorFormat, TwoFactors, as_matrix, check_rank, two_factor_frontier
from decompositions.core.metric import SiteMetric
from decompositions.core.site import Site
from decompositions.core.whitening import Whitened
from decompositions.linalg.pivoted_qr import nested_basis, pivoted_basis
from decompositions.linalg.spectrum import scaled


@dataclass(frozen=True)
class CUR(TwoFactorFormat):
    """Write a weight with `rank` of its columns and `rank` of its rows."""

    def analyse(self, weight: Tensor) -> CURAnalysis:
        """Compute two pivoted QR factorisations, of the matrix and of its transpose."""
        matrix, scale = scaled(as_matrix(weight))
        array = matrix.cpu().numpy()
        columns, column_order = pivoted_basis(array)
        rows, _ = pivoted_basis(array.T)
        square = float((weight.detach().double() / scale).square().sum())
        return CURAnalysis(weight, scale, square, columns.T @ array @ rows, column_order, rows)

    def analyse_in(self, weight: Tensor, metric: SiteMetric) -> WeightedCURAnalysis:
        """Compute both factorisations in a metric, `W̃ = L_out W L_in`: `Q_C` spans columns of `L_out W`, `Q_R` rows of
        `W L_in`. Inputs and outputs that matter more come first in their order.
        """
        matrix, scale = scaled(as_matrix(weight))
        whitened = Whitened.of(matrix, metric)
        columns, column_order = nested_basis(whitened.columns, whitened.input_weights)
        rows, row_order = nested_basis(whitened.rows.T, whitened.output_weights)
        middle, square = columns.T @ whitened.both @ rows, float(np.square(whitened.both).sum())
        return WeightedCURAnalysis(weight, scale, square, middle, column_order, rows, row_order, whitened)


@dataclass(frozen=True)
class CURAnalysis:
    """A weight in the bases of its pivoted columns and rows.

    `square` is the squared norm of `weight / scale`, `middle` is `Q_Cᵀ (weight / scale) Q_R`, `(k, k)`; `column_order`
    the pivoted order of the columns, `(columns,)`; `row_basis` is `Q_R`, `(columns, k)`.
    """

    weight: Tensor
    scale: float
    square: float
    middle: np.ndarray
    column_order: np.ndarray
    row_basis: np.ndarray

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return every useful rank, with its exact error."""
        # The sum over i, j ≤ r grows by one row and one column of M² a rank: two triangular sums and their diagonal.
        energy = self.middle**2
        gain = np.tril(energy, -1).sum(1) + np.triu(energy, 1).sum(0) + np.diag(energy)
        # Summed from the end, so that a small error is not the difference of two large numbers.
        outside = max(self.square - float(gain.sum()), 0.0)
        errors = np.append(np.cumsum(gain[::-1])[::-1], 0.0) + outside
        unit = self.scale**2
        return two_factor_frontier(
            torch.from_numpy(errors * unit), site, self.square * unit, min_rank, dense=dense, multiple_of=multiple_of
        )

    def decompose(self, rank: Rank) -> TwoFactors:
        """Return `left = C` (columns of the weight) and `right = C⁺ W R⁺ R` (the weight projected on both spans)."""
        weight, rank = self.weight, check_rank(self.weight, rank)
        matrix = (as_matrix(weight.detach()).double() / self.scale).cpu().numpy()
        chosen, rows = matrix[:, self.column_order[:rank]], self.row_basis[:, :rank]
        projected = (matrix @ rows) @ rows.T
        right = np.linalg.lstsq(chosen, projected, rcond=None)[0] if rank else np.zeros((0, matrix.shape[1]))
        left = torch.from_numpy(np.ascontiguousarray(chosen * self.scale)).to(weight)
        return TwoFactors(left, torch.from_numpy(right).to(weight), tuple(weight.shape))


@dataclass(frozen=True)
class WeightedCURAnalysis(CURAnalysis):
    """The same in a metric: `square` and `middle` are those of `W̃`; `row_order` is the pivoted order of the rows."""

    row_order: np.ndarray
    whitened: Whitened

    def decompose(self, rank: Rank) -> TwoFactors:
        """Return `left = C` and `right = (L_out C)⁺ W̃ (R L_in)⁺ R`."""
        weight, rank = self.weight, check_rank(self.weight, rank)
        matrix = (as_matrix(weight.detach()).double() / self.scale).cpu().numpy()
        chosen, kept = self.column_order[:rank], self.row_order[:rank]
        right = np.zeros((0, matrix.shape[1]))
        if rank:
            of_rows = np.linalg.lstsq(self.whitened.rows[kept].T, self.whitened.both.T, rcond=None)[0].T
            middle = np.linalg.lstsq(self.whitened.columns[:, chosen], of_rows, rcond=None)[0]
            right = middle @ matrix[kept]
        left = torch.from_numpy(np.ascontiguousarray(matrix[:, chosen] * self.scale)).to(weight)
        return TwoFactors(left, torch.from_numpy(right).to(weight), tuple(weight.shape))
