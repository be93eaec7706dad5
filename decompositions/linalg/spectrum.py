"""What the formats compute spectra with: weights in float64 at scale 1, and Gram matrices of the smaller side."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor


def scaled(weight: Tensor) -> tuple[Float64[Tensor, "..."], float]:
    """A contiguous copy in float64 with largest entry 1, so that squares neither overflow nor vanish, and that entry.

    Raises `ValueError` for NaN or infinite weights: no format has an answer for them.
    """
    weight = weight.detach()
    scale = max(-float(weight.min()), float(weight.max())) if weight.numel() else 0.0
    if not math.isfinite(scale):
        raise ValueError("the weight holds NaN or infinite values; the training before it has diverged")
    tensor = weight.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
    return (tensor.div_(scale), scale) if scale > 0 else (tensor, 1.0)


def gram(matrix: Float64[Tensor, "rows columns"]) -> Float64[Tensor, "side side"]:
    """`A Aᵀ` or `Aᵀ A`, whichever is smaller; its eigenvalues are the squared singular values."""
    return matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix


def tails(energy: Float64[Tensor, " value"]) -> Float64[Tensor, " rank"]:
    """What lies beyond rank 0, 1, …: sums of small numbers, not differences of large ones."""
    return torch.cat([energy.flip(0).cumsum(0).flip(0), energy.new_zeros(1)])


def eigh(symmetric: Float64[Tensor, "side side"]) -> tuple[Float64[Tensor, " side"], Float64[Tensor, "side side"]]:
    """Eigenvalues in falling order, none below 0, and their eigenvectors."""
    values, vectors = torch.linalg.eigh(symmetric)
    return values.flip(0).clamp(min=0), vectors.flip(1)
