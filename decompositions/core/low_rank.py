"""Two factors `left @ right` for a weight as a matrix: what SVD, spatial SVD, interpolative and CUR share.

The matrix has the outputs as rows and inputs times kernel as columns (scheme 1 of [IC20]); or the first kernel axis is
moved to the rows (scheme 2, "spatial"). A linear layer becomes two linear layers; a convolution becomes two, which
share its geometry: the first does the kernel axes of the columns and has `rank` outputs, the second those of the rows
and carries the bias. At rank 0 only the bias is left.

[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from decompositions.core.format import Analysis
from decompositions.core.frontier import Frontier, Rank, Unfolding, pareto_frontier
from decompositions.core.mode_axes import ModeAxes
from decompositions.core.site import Site
from decompositions.layers.base import FactoredSequential, ZeroRank
from decompositions.layers.geometry import part_of, positions_between
from decompositions.linalg.canonical import balanced_pair
from decompositions.linalg.moments import Kronecker, apply


@dataclass(frozen=True)
class TwoFactors:
    """`W ≈ left @ right` for a weight of `shape`, of whose kernel axes the first `num_row_axes` are in the rows."""

    left: Float[Tensor, "rows rank"]
    right: Float[Tensor, "rank columns"]
    shape: tuple[int, ...]
    num_row_axes: int = 0

    def to_tensor(self) -> Tensor:
        """Multiply the factors: the approximate weight, in the shape of the dense one."""
        return from_matrix(self.left @ self.right, self.shape, self.num_row_axes)

    @property
    def num_params(self) -> int:
        """Count the numbers in both factors."""
        return self.left.numel() + self.right.numel()

    def mode_product(self, maps: Sequence[Kronecker | None], dtype: torch.dtype) -> TwoFactors:
        """Return the factors with a matrix on the rows and one on the columns (see `core.whitening.ModeFactors`)."""
        left, right = balanced_pair(apply(maps[0], self.left), apply(maps[1], self.right.T).T)
        return replace(self, left=left.to(dtype), right=right.contiguous().to(dtype))


class TwoFactorFormat(ABC):
    """Base of the formats with two factors. A subclass says how both are found, in `analyse`."""

    serves_transposed: ClassVar = True

    @abstractmethod
    def analyse(self, weight: Tensor) -> Analysis:
        """Factorise the matrix once for all ranks; raises `ValueError` for NaN or infinite weights."""

    def num_row_axes(self, weight: Tensor) -> int:
        """Return how many kernel axes stand in the rows of the matrix: none, unless a subclass moves some there."""
        return 0

    def mode_axes(self, weight: Tensor) -> ModeAxes:
        """Return two modes: the rows, and the columns of the matrix."""
        row_axes = range(2, 2 + self.num_row_axes(weight))
        columns = [axis for axis in range(1, weight.ndim) if axis not in row_axes]
        return ModeAxes(tuple(weight.shape), ((0, *row_axes), tuple(columns)))

    def count(self, site: Site, ranks: Int64[Tensor, "rank 1"]) -> tuple[Tensor, Tensor]:
        """Count `r (rows + columns)` parameters and the bias, and the multiply-adds of both layers."""
        return count(site, ranks, self.num_row_axes(site.weight))

    def zeros(self, weight: Tensor, rank: Rank) -> TwoFactors:
        """Return zero factors of `rank`, an int from 0 to the smaller side; else raise `ValueError`."""
        return zeros(weight, rank, self.num_row_axes(weight))

    def layer(self, dense: nn.Module, factors: TwoFactors) -> nn.Module:
        """Build two layers, one after the other, that equal `dense` with the weight `factors.to_tensor()`."""
        return two_factor_layer(dense, factors)


def is_matrix(weight: Tensor) -> bool:
    """Return True if a weight has no kernel, or a kernel of a single position."""
    return weight.ndim == 2 or weight[0, 0].numel() == 1


def as_matrix(weight: Tensor, num_row_axes: int = 0) -> Float[Tensor, "rows columns"]:
    """Reshape a weight `(out, in, *kernel)` to out and the first `num_row_axes` kernel axes × in and the others.

    >>> tuple(as_matrix(torch.zeros(8, 4, 3, 5)).shape), tuple(as_matrix(torch.zeros(8, 4, 3, 5), num_row_axes=1).shape)
    ((8, 60), (24, 20))
    """
    out, rows = weight.shape[0], weight.shape[2 : 2 + num_row_axes]
    return weight.movedim(1, 1 + num_row_axes).reshape(out * math.prod(rows), -1)


def from_matrix(matrix: Tensor, shape: tuple[int, ...], num_row_axes: int = 0) -> Tensor:
    """Undo `as_matrix`: give the matrix of a weight of `shape` that shape again."""
    rows, columns = shape[2 : 2 + num_row_axes], shape[2 + num_row_axes :]
    return matrix.reshape(shape[0], *rows, shape[1], *columns).movedim(1 + num_row_axes, 1)


def check_rank(weight: Tensor, rank: Rank, num_row_axes: int = 0) -> int:
    """Return `rank` if it is an int that the matrix allows, from 0 to its smaller side, else raise `ValueError`."""
    largest = min(as_matrix(weight, num_row_axes).shape)
    if not isinstance(rank, int) or not 0 <= rank <= largest:
        raise ValueError(
            f"rank: expected an int from 0 to {largest} for a weight of {tuple(weight.shape)}, got {rank!r}"
        )
    return rank


def zeros(weight: Tensor, rank: Rank, num_row_axes: int = 0) -> TwoFactors:
    """Return zero factors of rank `rank`, with the type and on the device of `weight`."""
    rank = check_rank(weight, rank, num_row_axes)
    rows, columns = as_matrix(weight, num_row_axes).shape
    return TwoFactors(weight.new_zeros(rows, rank), weight.new_zeros(rank, columns), tuple(weight.shape), num_row_axes)


def count(
    site: Site, ranks: Int64[Tensor, "rank 1"], num_row_axes: int = 0
) -> tuple[Int64[Tensor, " rank"], Int64[Tensor, " rank"]]:
    """Count parameters and multiply-adds of the two layers, bias included, for each rank.

    The first layer of a spatial scheme still has the input's size along the axes of the rows.
    """
    rows, columns = as_matrix(site.weight, num_row_axes).shape
    column_axes = range(num_row_axes, site.weight.ndim - 2)
    per_rank = columns * positions_between(site.calls, column_axes) + rows * site.positions
    return ranks[:, 0] * (rows + columns) + site.num_bias, ranks[:, 0] * per_rank


def two_factor_frontier(
    errors: Float64[Tensor, " rank"],
    site: Site,
    squared_norm: float,
    min_rank: int,
    num_row_axes: int = 0,
    unfoldings: tuple[Unfolding, ...] = (),
    *,
    dense: bool = True,
    multiple_of: int = 1,
) -> Frontier:
    """Return the frontier of `left @ right` from the squared `errors` of ranks 0, 1, …"""
    ranks = torch.arange(len(errors))[:, None]
    num_params, macs = count(site, ranks, num_row_axes)
    return pareto_frontier(
        ranks,
        num_params,
        macs,
        errors,
        dense_params=site.num_params,
        dense_macs=site.macs,
        squared_norm=squared_norm,
        min_rank=min_rank,
        dense=dense,
        unfoldings=unfoldings,
        multiple_of=multiple_of,
    )


def two_factor_layer(dense: nn.Module, factors: TwoFactors) -> nn.Module:
    """Build the two layers that equal `dense` with the weight `factors.to_tensor()`."""
    rank, shape, num_row_axes = factors.left.shape[1], factors.shape, factors.num_row_axes
    if rank == 0:
        return ZeroRank(dense)
    bias = dense.bias if isinstance(dense.bias, Tensor) else None
    row_axes, column_axes = range(num_row_axes), range(num_row_axes, len(shape) - 2)
    left = factors.left.reshape(shape[0], *shape[2 : 2 + num_row_axes], rank).movedim(-1, 1)  # (out, rank, *row axes)
    return FactoredSequential(
        part_of(dense, column_axes, factors.right.reshape(rank, shape[1], *shape[2 + num_row_axes :])),
        part_of(dense, row_axes, left, bias),
    )
