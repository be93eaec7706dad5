"""Truncated SVD of the weight as a matrix (out × in·kernel), the best approximation of its rank [EY36].

    ‖W − W_r‖² = Σ_{i>r} σ_i²

Only the singular values are needed to choose a rank: they are the roots of the eigenvalues of the Gram matrix of the
smaller side, in float64. The factors of the rank chosen follow from its eigenvectors. TensorLy is not used: its
truncated SVDs compute one rank at a time.

[ZZHS16] Zhang, Zou, He & Sun, Accelerating very deep convolutional networks, IEEE TPAMI 38(10), 2016.
[EY36] Eckart & Young, The approximation of one matrix by another of lower rank, Psychometrika 1936.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from decompositions.core.format import Analysis
from decompositions.core.frontier import Frontier, Rank, Unfolding
from decompositions.core.low_rank import TwoFactorFormat, TwoFactors, as_matrix, check_rank, two_factor_frontier
from decompositions.core.metric import SiteMetric
from decompositions.core.site import Site
from decompositions.core.whitening import analyse_by_modes
from decompositions.linalg.moments import Kronecker, apply
from decompositions.linalg.spectrum import eigh, gram, scaled, tails, with_shared_roots


@dataclass(frozen=True)
class SVD(TwoFactorFormat):
    """Write a weight as `left @ right`, the best approximation of its rank; both factors share the singular values.

    >>> weight = torch.diag(torch.tensor([4.0, 3.0, 2.0]))
    >>> factors = SVD().analyse(weight).decompose(2)
    >>> float((weight - factors.to_tensor()).square().sum()), factors.num_params
    (4.0, 12)
    """

    def analyse(self, weight: Tensor) -> SVDAnalysis:
        """Solve one eigenvalue problem, of the smaller side."""
        return SVDAnalysis.of(weight)

    def analyse_in(self, weight: Tensor, metric: SiteMetric) -> Analysis:
        """Where only inputs matter, solve the eigenvalue problem of the outputs, `W G_in Wᵀ`; else whiten.

        The leading eigenvectors P give `Θ = P Pᵀ W`, the best of its rank, without a root of `G_in` [ZZHS16].
        """
        matrix, scale = scaled(as_matrix(weight))
        if metric.out or matrix.shape[0] > matrix.shape[1]:
            return analyse_by_modes(self, self.mode_axes(weight), weight, metric)
        into = Kronecker(metric.into) if metric.into else None
        energy, basis = eigh(matrix @ apply(into, matrix.T))
        return SVDAnalysis(weight, 0, energy * scale**2, basis)


@dataclass(frozen=True)
class SVDAnalysis:
    """The spectrum of `weight` as a matrix (see `low_rank.as_matrix`), and the basis of its smaller side.

    `energy` holds the squared singular values, in falling order; `basis` the singular vectors as columns.
    """

    weight: Tensor
    num_row_axes: int
    energy: Float64[Tensor, " rank"]
    basis: Float64[Tensor, "side side"]

    @classmethod
    def of(cls, weight: Tensor, num_row_axes: int = 0) -> SVDAnalysis:
        """Diagonalise the Gram matrix; raises `ValueError` for NaN or infinite weights."""
        matrix, scale = scaled(as_matrix(weight, num_row_axes))
        energy, basis = eigh(gram(matrix))
        return cls(weight, num_row_axes, energy * scale**2, basis)

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return every useful rank, with its exact error."""
        energy = self.energy.cpu()
        rows, columns = as_matrix(self.weight, self.num_row_axes).shape
        unfoldings = (Unfolding(energy, (rows, columns)),)
        return two_factor_frontier(
            tails(energy),
            site,
            float(energy.sum()),
            min_rank,
            self.num_row_axes,
            unfoldings,
            dense=dense,
            multiple_of=multiple_of,
        )

    def decompose(self, rank: Rank) -> TwoFactors:
        """Return the best factors of `rank`; columns and rows have the roots of the singular values as norms."""
        rank = check_rank(self.weight, rank, self.num_row_axes)
        matrix, scale = scaled(as_matrix(self.weight, self.num_row_axes))
        left, right = with_shared_roots(matrix, self.basis[:, :rank])
        left, right = ((factor * scale**0.5).to(self.weight.dtype) for factor in (left, right))
        return TwoFactors(left, right, tuple(self.weight.shape), self.num_row_axes)


def singular_energy(weight: Tensor) -> Float64[Tensor, " rank"]:
    """Return the squared singular values `σ_i²` of a weight as a matrix of `out` rows, in falling order, in float64.

    Absolute accuracy is about 1e-15 of the largest. Raises `ValueError` for NaN or infinite weights.
    """
    matrix, scale = scaled(as_matrix(weight))
    return torch.linalg.eigvalsh(gram(matrix)).flip(0).clamp(min=0) * scale**2
