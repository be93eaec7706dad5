"""Two factors `left @ right` for a weight as a matrix (out × in·kernel): scheme 1 of [IC20], shared by SVD and CUR.

A linear layer becomes two linear layers; a convolution becomes one with the kernel, stride, padding, padding mode and
dilation of the dense one and `rank` outputs, then a 1×1 convolution that carries the bias. Rank 0 leaves the bias.

[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from decompositions.frontier import Frontier, Rank, pareto_frontier
from decompositions.site import Site
from decompositions.vanished import Vanished


@dataclass(frozen=True)
class TwoFactors:
    """`W ≈ left @ right`, reshaped to the weight's `shape`."""

    left: Float[Tensor, "out rank"]
    right: Float[Tensor, "rank in_kernel"]
    shape: tuple[int, ...]

    def to_tensor(self) -> Tensor:
        """The weight that the factors stand for."""
        return (self.left @ self.right).reshape(self.shape)

    @property
    def num_params(self) -> int:
        """Numbers in both factors."""
        return self.left.numel() + self.right.numel()


def as_matrix(weight: Tensor) -> Float[Tensor, "out in_kernel"]:
    """View a weight `(out, in, *kernel)` as a matrix of `out` rows."""
    return weight.reshape(weight.shape[0], -1)


def check_rank(weight: Tensor, rank: Rank) -> int:
    """Return `rank` if it is an int within 0 … min(out, in·kernel), else raise `ValueError`."""
    largest = min(as_matrix(weight).shape)
    if not isinstance(rank, int) or not 0 <= rank <= largest:
        raise ValueError(
            f"rank: expected an int from 0 to {largest} for a weight of {tuple(weight.shape)}, got {rank!r}"
        )
    return rank


def zeros(weight: Tensor, rank: Rank) -> TwoFactors:
    """Zero factors with the shapes of rank `rank`."""
    rank = check_rank(weight, rank)
    out, width = as_matrix(weight).shape
    return TwoFactors(weight.new_zeros(out, rank), weight.new_zeros(rank, width), tuple(weight.shape))


def two_factor_frontier(errors: Float64[Tensor, " rank"], site: Site, squared_norm: float, min_rank: int) -> Frontier:
    """The frontier of `left @ right` from the squared errors of ranks 0, 1, … : `r(out + in·kernel)` numbers a rank."""
    out, width = as_matrix(site.weight).shape
    ranks = torch.arange(len(errors))
    size = ranks * (out + width)
    return pareto_frontier(
        ranks[:, None],
        size + site.num_bias,
        size * site.positions,
        errors,
        dense_params=site.num_params,
        dense_macs=site.macs,
        squared_norm=squared_norm,
        min_rank=min_rank,
    )


def two_factor_layer(dense: nn.Module, factors: TwoFactors) -> nn.Module:
    """Build the two layers that equal `dense` with the weight `factors.to_tensor()`."""
    rank = factors.left.shape[1]
    if not isinstance(dense, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        raise ValueError(f"two factors replace linear and convolution layers, got {type(dense).__name__}")
    if rank == 0:
        return Vanished(dense)
    first: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
    second: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
    bias = dense.bias is not None
    like: dict[str, Any] = {"device": factors.left.device, "dtype": factors.left.dtype}
    if isinstance(dense, nn.Linear):
        first = nn.Linear(dense.in_features, rank, bias=False, **like)
        second = nn.Linear(rank, dense.out_features, bias=bias, **like)
    else:
        kind = next(kind for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(dense, kind))
        geometry: dict[str, Any] = {
            k: getattr(dense, k) for k in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
        }
        first = kind(dense.in_channels, rank, bias=False, **geometry, **like)
        second = kind(rank, dense.out_channels, kernel_size=1, bias=bias, **like)
    with torch.no_grad():
        first.weight.copy_(factors.right.reshape(first.weight.shape))  # (rank, in, *kernel)
        second.weight.copy_(factors.left.reshape(second.weight.shape))  # (out, rank, *1)
        if second.bias is not None and dense.bias is not None:
            second.bias.copy_(dense.bias)
    return nn.Sequential(first, second)
