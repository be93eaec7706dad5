"""Tucker-2 in the metric of whole patches: a moment over input channels and kernel together, which no mode has alone.

With `U` the eigenvectors of `W G Wᵀ`, `B` a nested basis of the input channels, `H = (B ⊗ I)ᵀ G (B ⊗ I)`, channels
slow and kernel fast, and its Cholesky factor `H = Rᵀ R`, whose leading blocks are those of fewer channels,

    e_ij = Σ_kernel (Uᵀ W G (B ⊗ I) R⁻¹)²,     ‖W − Θ_(r₁,r₂)‖²_G = Σ_{i>r₁ or j>r₂} e_ij

for all pairs of ranks, exact for these bases. `B` is that of the channel metric, the sum of G over the kernel. A share
`rtol` of the largest moment of a channel is added to G, so that `R` exists where samples are few.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from decompositions.linalg.spectrum import eigh


@dataclass(frozen=True)
class PatchTucker2:
    """A tensor `(out, in, kernel)` in such a metric.

    `energy` is e; `into` is B as columns; `projected` is `W G (B ⊗ I) R⁻¹`, and `triangle` is R.
    """

    energy: Float64[Tensor, "out in"]
    into: Float64[Tensor, "in in"]
    projected: Float64[Tensor, "out in_kernel"]
    triangle: Float64[Tensor, "in_kernel in_kernel"]

    @classmethod
    def of(
        cls,
        tensor: Tensor,
        moment: Tensor,
        rtol: float,
    ) -> PatchTucker2:
        """Analyse a tensor `(out, in, kernel)` with a moment `(in·kernel, in·kernel)`.

        It takes the eigenvalue problems of the outputs and of the inputs, and one Cholesky factor.
        """
        num_in, kernel = tensor.shape[1:]
        blocks = moment.reshape(num_in, kernel, num_in, kernel)
        channels = torch.einsum("ikjk->ij", blocks)
        into = _channel_basis(tensor, channels, rtol)
        ridge = rtol * float(torch.linalg.matrix_norm(channels, ord=2).clamp(min=torch.finfo(torch.float64).tiny))
        weighted = torch.tensordot(blocks, into, dims=([2], [0]))  # (in, kernel, kernel, rank)
        weighted = weighted.movedim(3, 2) + ridge * _with_identity(into, kernel)  # G_ridge (B ⊗ I)
        whole = torch.tensordot(into.T, weighted, dims=1).reshape(moment.shape)
        triangle = torch.linalg.cholesky((whole + whole.T) / 2, upper=True)
        products = tensor.flatten(1) @ weighted.reshape(moment.shape)
        projected = torch.linalg.solve_triangular(triangle, products, upper=True, left=False)
        _, out = eigh(projected @ projected.T)
        energy = (out.T @ projected).reshape(-1, num_in, kernel).square().sum(2)
        return cls(energy, into, projected, triangle)

    def factors(self, rank_out: int, rank_in: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return core `(rank_out, rank_in, kernel)` and bases of outputs and inputs.

        The basis of the outputs is the best one for that of the inputs, so that the error is at most that of `energy`.
        """
        width = rank_in * (self.triangle.shape[0] // self.into.shape[0])
        projected, triangle = self.projected[:, :width], self.triangle[:width, :width]
        out = eigh(projected @ projected.T)[1][:, :rank_out]
        core = torch.linalg.solve_triangular(triangle, (out.T @ projected).T, upper=True).T
        return core.reshape(rank_out, rank_in, -1), out, self.into[:, :rank_in]


def _channel_basis(tensor: Tensor, channels: Tensor, rtol: float) -> Tensor:
    """Return the nested basis of the inputs in the metric of the channels, as columns, all of them independent."""
    values, vectors = eigh(channels)
    values = values + rtol * values[0].clamp(min=torch.finfo(torch.float64).tiny)
    root, inverse = ((vectors * scale) @ vectors.T for scale in (values.sqrt(), values.rsqrt()))
    unfolded = root @ tensor.movedim(1, 0).flatten(1)
    return inverse @ eigh(unfolded @ unfolded.T)[1]


def _with_identity(matrix: Tensor, kernel: int) -> Tensor:
    """Return `B ⊗ I` as `(in, kernel, rank, kernel)`."""
    identity = torch.eye(kernel, dtype=matrix.dtype, device=matrix.device)
    return torch.einsum("ir,kl->ikrl", matrix, identity)
