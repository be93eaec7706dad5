"""The metric of the joint objective's penalty: bounded, so that an L step costs hardly more than without one.

A moment over many inputs is replaced by its leading eigenvectors V and the mean τ of the other eigenvalues,

    G ≈ V diag(λ) Vᵀ + τ (I − V Vᵀ),     so that  D G = τ D + ((D V) diag(λ − τ)) Vᵀ

costs 2q/n of the product with G. Both steps use the same one (a format that cannot serve it whole takes its partial
traces in the C step, which is then a projection). Its mean eigenvalue is 1, so that μ means the same in every layer and
metric, and τ > 0 pulls, slowly, the weights where no input looks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from decompositions.core.metric import SiteMetric
from decompositions.linalg.moments import Kronecker
from decompositions.linalg.spectrum import eigh

# The smallest eigenvalue is at least this share of the mean one.
FLOOR = 0.01


@dataclass(frozen=True)
class LowRankMoment:
    """`V diag(rest + gain) Vᵀ + rest (I − V Vᵀ)`: vectors `(side, q)`, gain `(q,)`."""

    vectors: Tensor
    gain: Tensor
    rest: float

    def __matmul__(self, columns: Tensor) -> Tensor:
        """Multiply with `columns`, `(side, column)`."""
        return torch.addmm(columns, self.vectors, self.gain[:, None] * (self.vectors.T @ columns), beta=self.rest)

    def to(self, like: Tensor) -> LowRankMoment:
        """Return it on the device and in the precision of a tensor."""
        return replace(self, vectors=self.vectors.to(like), gain=self.gain.to(like))


@dataclass(frozen=True)
class PenaltyMetric:
    """One layer's metric: `site` for the C step, products for the L step, and its `largest` eigenvalue."""

    site: SiteMetric
    out: tuple[Tensor | LowRankMoment, ...]
    into: tuple[Tensor | LowRankMoment, ...]
    largest: float

    @classmethod
    def of(cls, metric: SiteMetric, max_rank: int) -> PenaltyMetric:
        """Bound the moments of a layer to `max_rank` eigenvectors each."""
        sides, factors, largest = [], [], 1.0
        for moments in (metric.out, metric.into):
            bounded = [_bounded(moment, max_rank) for moment in moments]
            sides.append(tuple(moment for moment, _, _ in bounded))
            factors.append(tuple(factor if len(bounded) == 1 else whole for whole, factor, _ in bounded))
            for _, _, top in bounded:
                largest *= top
        return cls(replace(metric, out=sides[0], into=sides[1]), factors[0], factors[1], largest)

    def to(self, weight: Tensor) -> PenaltyMetric:
        """Return it ready for L steps on the device and in the precision of a weight; the C step's stays as it is."""
        out, into = (tuple(factor.to(weight) for factor in side) for side in (self.out, self.into))
        return replace(self, out=out, into=into)

    def add_times(self, gradient: Tensor, difference: Tensor, scale: float) -> None:
        """Add `scale · G_out D G_in` to a gradient, both in the shape of the weight, in place."""
        side = self.into[0] if len(self.into) == 1 else None
        if not isinstance(side, LowRankMoment) or not gradient.is_contiguous():
            gradient.add_(self.times(difference), alpha=scale)
            return
        matrix, into = difference.flatten(1), gradient.flatten(1)  # the latter is a view
        matrix = _times(self.out, matrix) if self.out else matrix
        into.add_(matrix, alpha=scale * side.rest)
        into.addmm_((matrix @ side.vectors) * side.gain, side.vectors.T, alpha=scale)

    def times(self, difference: Tensor) -> Tensor:
        """Return `G_out D G_in` of a tensor in the shape of the weight."""
        matrix = difference.flatten(1)
        matrix = _times(self.out, matrix) if self.out else matrix
        matrix = _times(self.into, matrix.T).T if self.into else matrix
        return matrix.reshape(difference.shape)


def _times(side: tuple[Tensor | LowRankMoment, ...], columns: Tensor) -> Tensor:
    if len(side) == 1 and isinstance(side[0], LowRankMoment):
        return side[0] @ columns
    return Kronecker(tuple(part for part in side if isinstance(part, Tensor))) @ columns


def _bounded(moment: Tensor, max_rank: int) -> tuple[Tensor, Tensor | LowRankMoment, float]:
    """Return a moment of mean eigenvalue 1, the same as a product, and its largest eigenvalue."""
    scale = Kronecker((moment,)).trace / len(moment)
    moment = moment / scale if scale > 0 else torch.ones(len(moment), dtype=moment.dtype, device=moment.device)
    if moment.ndim == 1:
        moment = moment.clamp(min=FLOOR)
        return moment, moment, float(moment.max())
    values, vectors = eigh(moment)
    kept = min(max_rank, len(values))
    rest = max(float(values[kept:].mean()) if kept < len(values) else float(values[-1]), FLOOR)
    vectors, gain = vectors[:, :kept], (values[:kept] - rest).clamp(min=0)
    whole = (vectors * gain) @ vectors.T + rest * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    product = LowRankMoment(vectors, gain, rest) if 2 * kept < len(values) else whole
    return whole, product, float(gain.max()) + rest
