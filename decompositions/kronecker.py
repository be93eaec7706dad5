"""Sum of Kronecker products: a weight of a few pairs of small factors, the best for its sizes [LP93, HPMG22].

    W ≈ Σ_{k≤r} A_k ⊗ B_k        (out, in, *kernel) = (a b, c d, *kernel),   A_k (a, c),   B_k (b, d, *kernel)

With its entries in another order, `R[(a c), (b d kernel)]`, the sum is a matrix of rank r, so that one SVD gives the
errors of all numbers of terms and the factors of any:

    ‖W − Ŵ_r‖² = Σ_{k>r} σ_k(R)²,        r (a c + b d · kernel) parameters

Differs from [HPMG22]: the kernel is wholly in B, and the sizes are balanced or given, not searched.

[LP93] Van Loan & Pitsianis, Approximation with Kronecker products, in: Linear algebra for large scale and real-time
    applications, Kluwer 1993.
[HPMG22] Hameed, Tahaei, Mosleh & Partovi Nia, Convolutional neural network compression through generalized Kronecker
    product decomposition, AAAI 2022; its text was not at hand: the title's method, from its abstract.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, MaxLen, MinLen
from jaxtyping import Int64
from torch import Tensor, nn

from decompositions.core.frontier import Frontier, Rank, Unfolding, pareto_frontier
from decompositions.core.mode_axes import ModeAxes
from decompositions.core.site import Site
from decompositions.layers.base import ZeroRank
from decompositions.layers.geometry import LAYER_TYPES, wrong_kind
from decompositions.layers.kronecker import KroneckerConv, KroneckerLinear, KroneckerSizes
from decompositions.linalg.canonical import balanced_pair
from decompositions.linalg.moments import Kronecker, apply
from decompositions.linalg.spectrum import tails
from decompositions.linalg.tensorize import modes_of_sides, refuse_unused_keys
from decompositions.svd import SVDAnalysis


@dataclass(frozen=True)
class KroneckerFactors:
    """`Σ left_k ⊗ right_k`: A `(term, a, c)` and B `(term, b, d, *kernel)`."""

    left: Tensor
    right: Tensor

    @classmethod
    def of(cls, rows: Tensor, columns: Tensor, sizes: KroneckerSizes, kernel: Sequence[int]) -> KroneckerFactors:
        """Cut `rows` `(a c, term)` and `columns` `(term, b d kernel)` of the rearranged matrix into the terms."""
        (a, b), (c, d) = sizes.out, sizes.into
        left = rows.T.reshape(rows.shape[1], a, c).contiguous()
        return cls(left, columns.reshape(len(columns), b, d, *kernel).contiguous())

    def to_tensor(self) -> Tensor:
        """Sum the terms: the approximate weight, `(out, in, *kernel)`."""
        (a, c), (b, d), kernel = self.left.shape[1:], self.right.shape[1:3], self.right.shape[3:]
        right = self.right.reshape(len(self.right), b, d, math.prod(kernel))
        product = torch.einsum("rac,rbdk->abcdk", self.left, right)
        return product.reshape(a * b, c * d, *kernel)

    @property
    def num_params(self) -> int:
        """Count the numbers in all factors."""
        return self.left.numel() + self.right.numel()

    def mode_product(self, maps: Sequence[Kronecker | None], dtype: torch.dtype) -> KroneckerFactors:
        """Return the factors with a matrix on the modes of A and one on those of B (see `core.whitening`)."""
        (a, c), (b, d), kernel = self.left.shape[1:], self.right.shape[1:3], self.right.shape[3:]
        rows, columns = self.left.flatten(1).T, self.right.flatten(1).T
        rows, columns = balanced_pair(apply(maps[0], rows), apply(maps[1], columns).T)
        sizes = KroneckerSizes((a, b), (c, d), math.prod(kernel))
        return KroneckerFactors.of(rows.to(dtype), columns.to(dtype), sizes, kernel)


@dataclass(frozen=True)
class KroneckerSum:
    """Cut each side of a layer into two balanced modes, the first for A, or into those given for it in `modes`.

    `modes` maps a size, written as text, to two modes: `{"1024": [16, 64]}`; `out_32`, `in_32` and `in_64x32` are
    narrower keys (see `tensorize.modes_of_sides`).

    >>> eye = torch.kron(torch.eye(2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> factors = KroneckerSum().analyse(eye).decompose(1)
    >>> torch.allclose(factors.to_tensor(), eye, atol=1e-6), factors.num_params
    (True, 8)
    """

    modes: dict[str, Annotated[list[Annotated[int, Ge(1)]], MinLen(2), MaxLen(2)]] | None = None

    def sizes(self, shape: Sequence[int]) -> KroneckerSizes:
        """Return the modes of a weight of this shape; raises `ValueError` unless each side has two."""
        out, into = modes_of_sides(shape, 2, self.modes)
        for modes in (out, into):
            if len(modes) != 2:
                raise ValueError(f"modes: a Kronecker sum takes two modes a side, one a factor, got {list(modes)}")
        return KroneckerSizes((out[0], out[1]), (into[0], into[1]), math.prod(shape[2:]))

    def mode_axes(self, weight: Tensor) -> ModeAxes:
        """Return two modes: the axes of A, and those of B."""
        sizes = self.sizes(weight.shape)
        kernel = range(4, 2 + weight.ndim)
        return ModeAxes((*sizes.out, *sizes.into, *weight.shape[2:]), ((0, 2), (1, 3, *kernel)), num_out=2)

    def check_sites(self, sites: Mapping[str, Site]) -> None:
        """Raise `ValueError` for a key of `modes` that no layer uses."""
        refuse_unused_keys((site.weight.shape for site in sites.values()), self.modes)

    def analyse(self, weight: Tensor) -> KroneckerAnalysis:
        """Solve one eigenvalue problem, of the smaller side of the rearranged matrix."""
        sizes = self.sizes(weight.shape)
        (a, b), (c, d) = sizes.out, sizes.into
        rearranged = weight.detach().reshape(a, b, c, d, sizes.kernel).permute(0, 2, 1, 3, 4).reshape(a * c, -1)
        return KroneckerAnalysis(weight, self, sizes, SVDAnalysis.of(rearranged))

    def count(self, site: Site, ranks: Int64[Tensor, "rank 1"]) -> tuple[Tensor, Tensor]:
        """Count `r (a c + b d · kernel)` parameters and the bias; multiply-adds of the cheaper order of each call."""
        sizes = self.sizes(site.weight.shape)
        (a, b), (c, d) = sizes.out, sizes.into
        per_term = sum(min(sizes.macs(math.prod(before), math.prod(after))) for before, after in site.calls)
        return ranks[:, 0] * (a * c + b * d * sizes.kernel) + site.num_bias, ranks[:, 0] * per_term

    def zeros(self, weight: Tensor, rank: Rank) -> KroneckerFactors:
        """Return zero factors of so many terms."""
        sizes = self.sizes(weight.shape)
        (a, b), (c, d) = sizes.out, sizes.into
        rank = _checked(sizes, weight, rank)
        return KroneckerFactors(weight.new_zeros(rank, a, c), weight.new_zeros(rank, b, d, *weight.shape[2:]))

    def layer(self, dense: nn.Module, factors: KroneckerFactors) -> nn.Module:
        """Build the layer of these factors, with the bias and the geometry of `dense`."""
        if not isinstance(dense, LAYER_TYPES):
            raise ValueError(wrong_kind(dense))
        if factors.num_params == 0:
            return ZeroRank(dense)
        kind = KroneckerLinear if isinstance(dense, nn.Linear) else KroneckerConv
        return kind(dense, factors.left, factors.right)


@dataclass(frozen=True)
class KroneckerAnalysis:
    """The spectrum and the singular vectors of the rearranged weight."""

    weight: Tensor
    format: KroneckerSum
    sizes: KroneckerSizes
    svd: SVDAnalysis

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return every useful number of terms, with its exact error."""
        energy = self.svd.energy.cpu()
        ranks = torch.arange(len(energy) + 1)[:, None]
        num_params, macs = self.format.count(site, ranks)
        rows, columns = self.svd.weight.shape
        return pareto_frontier(
            ranks,
            num_params,
            macs,
            tails(energy),
            dense_params=site.num_params,
            dense_macs=site.macs,
            squared_norm=float(energy.sum()),
            min_rank=min_rank,
            dense=dense,
            unfoldings=(Unfolding(energy, (rows, columns)),),
            multiple_of=multiple_of,
        )

    def decompose(self, rank: Rank) -> KroneckerFactors:
        """Return the best terms, so many of them; both factors of each have the same norm."""
        factors = self.svd.decompose(_checked(self.sizes, self.weight, rank))
        return KroneckerFactors.of(factors.left, factors.right, self.sizes, self.weight.shape[2:])


def _checked(sizes: KroneckerSizes, weight: Tensor, rank: Rank) -> int:
    """Return the number of terms if the rearranged matrix can have that rank, else raise `ValueError`."""
    (a, b), (c, d) = sizes.out, sizes.into
    largest = min(a * c, b * d * sizes.kernel)
    if not isinstance(rank, int) or not 0 <= rank <= largest:
        shape = tuple(weight.shape)
        raise ValueError(f"rank: expected a number of terms from 0 to {largest} for a weight of {shape}, got {rank!r}")
    return rank
