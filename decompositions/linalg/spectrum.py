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


def gram(matrix: Float64[Tensor, "rows columns"]) -> Float64[Tensor, "side side"]:
    """Return `A Aᵀ` or `Aᵀ A`, whichever is smaller; its eigenvalues are the squared singular values."""
    return matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix


def tails(energy: Float64[Tensor, " value"]) -> Float64[Tensor, " rank"]:
    """Return the energy beyond rank 0, 1, …: sums of small numbers, not differences of large ones.

    >>> tails(torch.tensor([4.0, 2.0, 1.0]).double()).tolist()
    [7.0, 3.0, 1.0, 0.0]
    """
    return torch.cat([energy.flip(0).cumsum(0).flip(0), energy.new_zeros(1)])


def eigh(symmetric: Float64[Tensor, "side side"]) -> tuple[Float64[Tensor, " side"], Float64[Tensor, "side side"]]:
    """Return the eigenvalues in falling order, clamped at 0, and the eigenvectors as columns."""
    values, vectors = torch.linalg.eigh(symmetric)
    return values.flip(0).clamp(min=0), vectors.flip(1)
