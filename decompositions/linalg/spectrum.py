"""Spectra of weights: float64 at scale 1, eigenvalues of the Gram matrix of the smaller side, sums of their tails."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor


def scaled(weight: Tensor) -> tuple[Float64[Tensor, "..."], float]:
    """Return a contiguous float64 copy with largest entry 1, and the factor that undoes the scaling (1 for zeros).

    At this scale squares neither overflow nor vanish. Raises `ValueError` for NaN or infinite weights.

    >>> tensor, scale = scaled(torch.tensor([2.0, -4.0]))
    >>> tensor.tolist(), scale
    ([0.5, -1.0], 4.0)
    """
    weight = weight.detach()
    scale = max(-float(weight.min()), float(weight.max())) if weight.numel() else 0.0
    if not math.isfinite(scale):
        raise ValueError("the weight holds NaN or infinite values; the training before it has diverged")
    tensor = weight.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
    return (tensor.div_(scale), scale) if scale > 0 else (tensor, 1.0)


def gram(matrix: Float64[Tensor, "*batch rows columns"]) -> Float64[Tensor, "*batch side side"]:
    """Return `A Aᵀ` or `Aᵀ A`, whichever is smaller; its eigenvalues are the squared singular values."""
    return matrix @ matrix.mT if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT @ matrix


def tails(energy: Float64[Tensor, " value"]) -> Float64[Tensor, " rank"]:
    """Return the energy beyond rank 0, 1, …: sums of small numbers, not differences of large ones.

    >>> tails(torch.tensor([4.0, 2.0, 1.0]).double()).tolist()
    [7.0, 3.0, 1.0, 0.0]
    """
    return torch.cat([energy.flip(0).cumsum(0).flip(0), energy.new_zeros(1)])


def eigh(
    symmetric: Float64[Tensor, "*batch side side"],
) -> tuple[Float64[Tensor, "*batch side"], Float64[Tensor, "*batch side side"]]:
    """Return the eigenvalues in falling order, clamped at 0, and the eigenvectors as columns."""
    values, vectors = torch.linalg.eigh(symmetric)
    return values.flip(-1).clamp(min=0), vectors.flip(-1)


def with_shared_roots(
    matrix: Float64[Tensor, "*batch rows columns"], basis: Float64[Tensor, "*batch side rank"]
) -> tuple[Float64[Tensor, "*batch rows rank"], Float64[Tensor, "*batch rank columns"]]:
    """Return the projection of `matrix` on a `basis` of its smaller side, strongest first, as a product of two factors.

    Columns of the left and rows of the right factor have the roots of the singular values as norms. A direction without
    energy gets a zero and a unit factor: dividing by its root would make noise of it, and two zero factors would never
    be trained. The Gram matrix gives energies to eps, so singular values to its root.
    """
    wide = matrix.shape[-2] <= matrix.shape[-1]
    other = matrix.mT @ basis if wide else matrix @ basis  # σ_i times the other side's singular vectors
    sigma = other.norm(dim=-2, keepdim=True)
    floor = 10 * sigma.max() * torch.finfo(sigma.dtype).eps ** 0.5 if sigma.numel() else 0.0
    root = torch.where(sigma > floor, sigma, torch.ones_like(sigma)).sqrt()
    return (basis * root, (other / root).mT) if wide else (other / root, (basis * root).mT)
