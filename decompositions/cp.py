"""CP: a convolution as a sum of terms, one vector a mode each [LGROL15].

    W(t, s, h, w) ≈ Σ_r A(t, r) B(s, r) H(h, r) V(w, r)

As layers: 1×1 to r channels, one depthwise convolution a kernel axis, 1×1 to the outputs. With `kernel="joint"` the
kernel is one mode: a single depthwise convolution. `linalg.cp_als` finds the terms and keeps them bounded.
A matrix (linear layer, 1×1 convolution) has an exact answer: its CP is the SVD.

The best terms of different ranks are not nested, so there is no exact frontier: it holds the errors reached on a grid
of ranks, each fit starting from the one below it. A rank between two of the grid is fitted from the one below.

[LGROL15] Lebedev, Ganin, Rakhuba, Oseledets & Lempitsky, Speeding-up convolutional neural networks using fine-tuned
    CP-decomposition, ICLR 2015. Differs: alternating least squares instead of non-linear least squares.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from jaxtyping import Int64
from torch import Tensor, nn

from decompositions.core.fallback import FormatWithFallback
from decompositions.core.frontier import Frontier, Rank, pareto_frontier
from decompositions.core.low_rank import is_matrix
from decompositions.core.mode_axes import ModeAxes
from decompositions.core.site import Site
from decompositions.layers.base import FactoredSequential, ZeroRank
from decompositions.layers.geometry import part_of, positions_between
from decompositions.linalg.cp_als import balanced, exact_fit, fit, largest_rank, polish, to_tensor
from decompositions.linalg.moments import Kronecker, apply
from decompositions.linalg.multiples import rounded_up
from decompositions.linalg.spectrum import scaled
from decompositions.svd import SVD


@dataclass(frozen=True)
class CPFactors:
    """`(size, rank)` for outputs, inputs and each group of kernel axes of a weight of `shape`."""

    factors: tuple[Tensor, ...]
    shape: tuple[int, ...]

    def to_tensor(self) -> Tensor:
        """Sum the terms: the approximate weight, in the shape of the dense one."""
        return to_tensor(self.factors).reshape(self.shape)

    @property
    def num_params(self) -> int:
        """Count the numbers in all factors."""
        return sum(factor.numel() for factor in self.factors)

    def mode_product(self, maps: Sequence[Kronecker | None], dtype: torch.dtype) -> CPFactors:
        """Return the factors with a matrix on each mode (see `core.whitening.ModeFactors`)."""
        factors = balanced([apply(matrix, factor) for matrix, factor in zip(maps, self.factors, strict=True)])
        return replace(self, factors=tuple(factor.to(dtype) for factor in factors))


@dataclass(frozen=True)
class CP(FormatWithFallback):
    """Write a convolution as a sum of terms, fitted by `sweeps` of alternating least squares at each rank of a grid.

    `kernel` says whether each kernel axis is a mode of its own ("separable") or all of them are one ("joint").
    """

    serves_transposed: ClassVar = True

    kernel: Literal["separable", "joint"] = "separable"
    sweeps: Annotated[int, Ge(1)] = 50

    def groups(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the kernel axes of each depthwise convolution; axes of size 1 go with the first of the others."""
        axes = range(len(shape) - 2)
        wide = [axis for axis in axes if shape[2 + axis] > 1]
        if self.kernel == "joint":
            return [tuple(axes)]
        ones = tuple(axis for axis in axes if axis not in wide)
        return [(axis, *ones) if axis == wide[0] else (axis,) for axis in wide]

    def sizes(self, shape: tuple[int, ...]) -> list[int]:
        """Return the sizes of the modes: outputs, inputs, groups of kernel axes."""
        return [*shape[:2], *(math.prod(shape[2 + axis] for axis in group) for group in self.groups(shape))]

    def fallback(self, weight: Tensor) -> SVD | None:
        """Return the SVD for a matrix: it is its best CP."""
        return SVD() if is_matrix(weight) else None

    def mode_axes(self, weight: Tensor) -> ModeAxes:
        """Return outputs, inputs, and each group of kernel axes."""
        shape = tuple(weight.shape)
        kernels = (tuple(sorted(2 + axis for axis in group)) for group in self.groups(shape))
        return ModeAxes(shape, ((0,), (1,), *kernels))

    def _analyse(self, weight: Tensor) -> CPAnalysis:
        # No rank is fitted yet: each is on first use, and kept.
        tensor, scale = scaled(weight)
        return CPAnalysis(weight, self, tensor.reshape(self.sizes(tuple(weight.shape))), scale)

    def _count(self, site: Site, ranks: Int64[Tensor, "rank 1"]) -> tuple[Tensor, Tensor]:
        """Count `r (out + in + Σ kernel)` parameters and the bias; each depthwise layer shrinks its group's axes."""
        shape, rank = tuple(site.weight.shape), ranks[:, 0]
        per_rank = shape[1] * positions_between(site.calls, ()) + shape[0] * site.positions
        done: list[int] = []
        for group in self.groups(shape):
            done += group
            per_rank += math.prod(shape[2 + axis] for axis in group) * positions_between(site.calls, done)
        return rank * sum(self.sizes(shape)) + site.num_bias, rank * per_rank

    def _zeros(self, weight: Tensor, rank: Rank) -> CPFactors:
        shape = tuple(weight.shape)
        rank = _checked(self.sizes(shape), shape, rank)
        return CPFactors(tuple(weight.new_zeros(size, rank) for size in self.sizes(shape)), shape)

    def _layer(self, dense: nn.Module, factors: CPFactors) -> nn.Module:
        """Build a 1×1 convolution, a depthwise one for each group of kernel axes, a 1×1 one with the bias."""
        out, into, *kernels = factors.factors
        if (rank := out.shape[1]) == 0:
            return ZeroRank(dense)
        depthwise = []
        for group, kernel in zip(self.groups(factors.shape), kernels, strict=True):
            weight = kernel.T.reshape(rank, 1, *(factors.shape[2 + axis] for axis in sorted(group)))
            depthwise.append(part_of(dense, group, weight, groups=rank))
        bias = dense.bias if isinstance(dense.bias, Tensor) else None
        return FactoredSequential(part_of(dense, (), into.T), *depthwise, part_of(dense, (), out, bias))


@dataclass(frozen=True)
class CPAnalysis:
    """The fits of one weight, computed on first use: `tensor · scale` is the weight by modes.

    `fits` holds the final fits by rank, `way` the rougher ones of the grid, from which the next rank starts.
    """

    weight: Tensor
    format: CP
    tensor: Tensor
    scale: float
    fits: dict[int, list[Tensor]] = field(default_factory=dict)
    way: dict[int, list[Tensor]] = field(default_factory=dict)

    @property
    def grid(self) -> list[int]:
        """Return the ranks of the grid, each about 1.4 times the one before, while the layer is smaller than dense."""
        sizes = self.tensor.shape
        end = min(largest_rank(sizes) - 1, (self.tensor.numel() - 1) // sum(sizes))
        ranks = itertools.takewhile(lambda rank: rank < end, (round(2 ** (step / 2)) for step in itertools.count()))
        return sorted({*ranks, end} - {0})

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return the ranks of the grid with the errors of their fits."""
        ranks = [0, *rounded_up(self.grid, 1, largest_rank(self.tensor.shape), multiple_of)]
        errors = [float((self.tensor - to_tensor(self.fitted(rank))).square().sum()) for rank in ranks]
        points = torch.tensor(ranks)[:, None]
        num_params, macs = self.format.count(site, points)
        return pareto_frontier(
            points,
            num_params,
            macs,
            torch.tensor(errors, dtype=torch.float64) * self.scale**2,
            dense_params=site.num_params,
            dense_macs=site.macs,
            squared_norm=float(self.tensor.square().sum()) * self.scale**2,
            min_rank=min_rank,
            dense=dense,
            largest=[largest_rank(self.tensor.shape)],
            multiple_of=multiple_of,
        )

    def decompose(self, rank: Rank) -> CPFactors:
        """Return the terms of `rank`, the norm of each shared by its factors; exact at the largest rank."""
        rank = _checked(list(self.tensor.shape), tuple(self.weight.shape), rank)
        share = self.scale ** (1 / self.tensor.ndim)
        factors = [factor * share for factor in self.fitted(rank)]
        return CPFactors(tuple(factor.to(self.weight.dtype) for factor in factors), tuple(self.weight.shape))

    def fitted(self, rank: int) -> list[Tensor]:
        """Return the final fit of a rank: exact at the largest, else the one reached from below, polished."""
        if rank not in self.fits:
            if rank == 0 or not bool(self.tensor.any()):
                self.fits[rank] = balanced([self.tensor.new_zeros(size, rank) for size in self.tensor.shape])
            elif rank == largest_rank(self.tensor.shape):
                self.fits[rank] = balanced(exact_fit(self.tensor))
            else:
                self.fits[rank] = polish(self.tensor, self._reached(rank), self.format.sweeps)
        return self.fits[rank]

    def _reached(self, rank: int) -> list[Tensor]:
        """Return a fit that starts from that of the next lower rank of the grid; the next higher one starts from it."""
        if rank not in self.way:
            below = max((lower for lower in self.grid if lower < rank), default=0)
            start = self._reached(below) if below else [self.tensor.new_zeros(n, 0) for n in self.tensor.shape]
            self.way[rank] = fit(self.tensor, rank, start, self.format.sweeps)
        return self.way[rank]


def _checked(sizes: list[int], shape: tuple[int, ...], rank: Rank) -> int:
    """Return the rank if it is an int from 0 to the one at which CP is exact, else raise `ValueError`."""
    largest = largest_rank(sizes)
    if not isinstance(rank, int) or not 0 <= rank <= largest:
        raise ValueError(f"rank: expected an int from 0 to {largest} for a weight of {shape}, got {rank!r}")
    return rank
