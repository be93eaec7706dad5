"""A bound on the error of TT-SVD that counts once what two bonds drop together.

    ‖X − TT‖² ≤ Σ_k t_k(r_k) − max_j s_j(r_j, r_m),    s_j(a, b) = Σ_{α>a, β>b} e_αβ,    e_αβ = ‖(U_jᵀ X V_m)_αβ‖²

t_k(r) is the energy of unfolding k beyond rank r, U_j the basis of the left side of bond j, V_m that of the right side
of bond m, and m the first bond whose right side is the smaller one. Bond j stands before m, and those before j drop
nothing. Why: TT-SVD then drops t_j at bond j. At m it drops the least that any rank r_m leaves, no more than V_m's r_m
leading columns leave of what the projection on U_j has kept, ‖P_j X (I − Q_m)‖² = t_m − s_j. At all others it drops
t_k or less [Ose11]. For a convolution between two trains j and m are the bonds of the kernel, where nearly all is lost:
the bound is then that of Tucker-2, and costs what Tucker-2's core costs. Ours; the sum alone is [Ose11]'s.

[Ose11] Oseledets, Tensor-train decomposition, SIAM J. Scientific Computing 2011.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from decompositions.linalg.tt_svd import bond_limits


def shared_energies(tensor: Tensor, bases: Sequence[Tensor]) -> list[Tensor]:
    """Return `s_j` `(r_j, r_m)` for every bond j before m; none if no bond has its smaller side on the right.

    `bases` are those that `unfolding_spectra` returns: U_1 … U_{m−1}, V_m.
    """
    *lefts, right = bases
    before = math.prod(tensor.shape[: len(bases)])
    if before * before <= tensor.numel():
        return []
    projected = tensor.reshape(-1, len(right)) @ right
    return [_beyond((left.T @ projected.reshape(len(left), -1)).reshape(len(left), -1, len(right))) for left in lefts]


def error_bound(
    sizes: Sequence[int], tails: Sequence[Tensor], shared: Sequence[Tensor], ranks: Int64[Tensor, "point bond"]
) -> Float64[Tensor, " point"]:
    """Return the bound for each row of `ranks`; `tails[k]` is t_k by rank, `shared` is what `shared_energies` returns.

    It is at least half of the sum of both terms that share, so that no digits are lost.
    """
    total = torch.stack([tail[ranks[:, k]] for k, tail in enumerate(tails)]).sum(0)
    saved, whole = torch.zeros_like(total), torch.ones_like(total, dtype=torch.bool)
    for j, both in enumerate(shared):
        saved = torch.maximum(saved, both[ranks[:, j], ranks[:, len(shared)]] * whole)
        whole = whole & (ranks[:, j] == bond_limits(sizes)[j])
    return total - saved


def _beyond(core: Float64[Tensor, "left middle right"]) -> Float64[Tensor, "left+1 right+1"]:
    """Return at `(a, b)` the energy beyond a on the left and beyond b on the right."""
    energy = core.transpose(0, 1).square().sum(0)  # the middle first: thirty times faster
    sums = energy.flip(0, 1).cumsum(0).cumsum(1).flip(0, 1)
    return torch.nn.functional.pad(sums, (0, 1, 0, 1))
