"""Factors of the same product in the form in which formats store them: orthonormal, or of equal norms.

Factors that were mapped back from a metric multiply to the right weight, but their scales are those of the metric, and
training is sensitive to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor


def balanced_pair(
    left: Float64[Tensor, "row rank"], right: Float64[Tensor, "rank column"]
) -> tuple[Float64[Tensor, "row rank"], Float64[Tensor, "rank column"]]:
    """Return the SVD of `left @ right`, each singular value shared by both sides.

    A direction without energy gets a zero and a unit factor: two zero factors would never be trained.

    >>> left, right = balanced_pair(torch.tensor([[2.0], [0.0]]).double(), torch.tensor([[0.0, 8.0]]).double())
    >>> left.norm().item(), right.norm().item()
    (4.0, 4.0)
    """
    if left.shape[1] == 0:
        return left, right
    (q_left, r_left), (q_right, r_right) = torch.linalg.qr(left), torch.linalg.qr(right.T)
    u, sigma, v = torch.linalg.svd(r_left @ r_right.T)
    floor = 10 * sigma.max() * torch.finfo(sigma.dtype).eps
    root = torch.where(sigma > floor, sigma, torch.ones_like(sigma)).sqrt()
    width = len(sigma)
    return (q_left @ u[:, :width]) * root, (sigma / root)[:, None] * (v[:width] @ q_right.T)


def orthonormal_bases(core: Float64[Tensor, "..."], bases: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return `core ×_k basis_k` with orthonormal bases, `(side, rank)`; the core takes what is left of them."""
    found = []
    for mode, basis in enumerate(bases):
        if 0 < basis.shape[1] <= basis.shape[0]:
            basis, rest = torch.linalg.qr(basis)
            core = torch.tensordot(rest, core, dims=([1], [mode])).movedim(0, mode)
        found.append(basis)
    return core, found


def left_orthogonal(cores: Sequence[Tensor]) -> list[Tensor]:
    """Return a train of cores `(before, mode, after)` as TT-SVD gives it, orthonormal from the left, at equal norms."""
    found, rest = [], torch.ones(1, 1, dtype=torch.float64, device=cores[0].device)
    for k, core in enumerate(cores):
        core = torch.tensordot(rest, core, dims=1)
        before, mode, after = core.shape
        if k < len(cores) - 1 and 0 < after <= before * mode:
            flat, rest = torch.linalg.qr(core.reshape(-1, after))
            core = flat.reshape(before, mode, after)
        else:
            rest = torch.eye(after, dtype=core.dtype, device=core.device)
        found.append(core)
    return equal_norms(found)


def equal_norms(cores: Sequence[Tensor], scale: float = 1.0) -> list[Tensor]:
    """Return cores of the same norm whose product is `scale` times that of `cores`; unchanged if one is zero.

    One large core among unit ones would take all of a training step.
    """
    norms = [float(core.norm()) * (scale if k == len(cores) - 1 else 1.0) for k, core in enumerate(cores)]
    if min(norms) == 0:
        return list(cores)
    mean = math.exp(sum(map(math.log, norms)) / len(norms))
    return [core * (mean / float(core.norm())) for core in cores]
