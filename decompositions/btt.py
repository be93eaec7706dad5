"""Block tensor train: blocks of low rank, computed as two block-diagonal products with a permutation between [QPMW24].

    W[(α β), (γ δ kernel)] = Σ_{σ≤r} L[β, α, γ, σ] R[γ, β, σ, δ, kernel],      out = a b, in = c d

For each pair (β, γ) it is a matrix `a × d·kernel` of rank r, and the pairs share nothing. So the best factors are the
truncated SVDs of all blocks, and one batched eigenvalue problem gives the errors of all ranks:

    ‖W − Ŵ_r‖² = Σ_{β γ} Σ_{i>r} σ_i(block β γ)²,        r (T c + b S · kernel) parameters for T outputs and S inputs

Rank 1 is the Monarch matrix [DCGL22]. A metric would have to be block-diagonal: `identity` alone is served.

[QPMW24] Qiu, Potapczynski, Finzi, Goldblum & Wilson, Compute better spent: replacing dense layers with structured
    matrices, ICML 2024; its text was not at hand: the form above is that of its abstract and formulas cited elsewhere.
[DCGL22] Dao, Chen, Sohoni et al., Monarch: expressive structured matrices for efficient and accurate training,
    ICML 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, MaxLen, MinLen
from jaxtyping import Float64, Int64
from torch import Tensor, nn

from decompositions.core.frontier import Frontier, Rank, pareto_frontier
from decompositions.core.site import Site
from decompositions.layers.base import ZeroRank
from decompositions.layers.btt import BTTConv, BTTLinear
from decompositions.layers.geometry import LAYER_TYPES, wrong_kind
from decompositions.linalg.spectrum import eigh, gram, scaled, tails, with_shared_roots
from decompositions.linalg.tensorize import modes_of_sides, refuse_unused_keys


@dataclass(frozen=True)
class BTTFactors:
    """`left` is L `(β, α, γ, σ)`, `right` is R `(γ, β, σ, δ, *kernel)`."""

    left: Tensor
    right: Tensor

    def to_tensor(self) -> Tensor:
        """Multiply the factors: the approximate weight, `(out, in, *kernel)`."""
        (b, a, c, _), d, kernel = self.left.shape, self.right.shape[3], self.right.shape[4:]
        right = self.right.reshape(*self.right.shape[:4], math.prod(kernel))
        return torch.einsum("bacs,cbsdk->abcdk", self.left, right).reshape(a * b, c * d, *kernel)

    @property
    def num_params(self) -> int:
        """Count the numbers in both factors."""
        return self.left.numel() + self.right.numel()


@dataclass(frozen=True)
class BTT:
    """Cut outputs into `α · β` and inputs into `γ · δ`, balanced, or as given in `modes`.

    `modes` maps a size, written as text, to two modes: `{"1024": [16, 64]}`; `out_32`, `in_32` and `in_64x32` are
    narrower keys (see `tensorize.modes_of_sides`).

    >>> factors = BTT().analyse(torch.eye(4)).decompose(1)
    >>> torch.allclose(factors.to_tensor(), torch.eye(4)), factors.num_params  # each of the four blocks has one entry
    (True, 16)
    """

    modes: dict[str, Annotated[list[Annotated[int, Ge(1)]], MinLen(2), MaxLen(2)]] | None = None

    def sizes(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """Return `a, b, c, d` of a weight of this shape; raises `ValueError` unless each side has two modes."""
        out, into = modes_of_sides(shape, 2, self.modes)
        for modes in (out, into):
            if len(modes) != 2:
                raise ValueError(f"modes: a block tensor train takes two modes a side, got {list(modes)}")
        return *out, *into  # type: ignore[return-value]

    def check_sites(self, sites: Mapping[str, Site]) -> None:
        """Raise `ValueError` for a key of `modes` that no layer uses."""
        refuse_unused_keys((site.weight.shape for site in sites.values()), self.modes)

    def analyse(self, weight: Tensor) -> BTTAnalysis:
        """Solve one eigenvalue problem for each block, of its smaller side, all in one batch."""
        tensor, scale = scaled(weight)
        a, b, c, _ = self.sizes(weight.shape)
        blocks = tensor.reshape(a, b, c, -1).permute(1, 2, 0, 3)  # (β, γ, α, δ kernel)
        values, basis = eigh(gram(blocks))
        return BTTAnalysis(weight, self, blocks, scale, values.sum((0, 1)) * scale**2, basis)

    def count(self, site: Site, ranks: Int64[Tensor, "rank 1"]) -> tuple[Tensor, Tensor]:
        """Count `r (out c + b in · kernel)` parameters and the bias, and the multiply-adds of both products."""
        a, b, c, d = self.sizes(site.weight.shape)
        per_rank = b * c * (a + d * math.prod(site.weight.shape[2:]))
        return ranks[:, 0] * per_rank + site.num_bias, ranks[:, 0] * per_rank * site.positions

    def zeros(self, weight: Tensor, rank: Rank) -> BTTFactors:
        """Return zero factors of this rank."""
        rank, (a, b, c, d) = self._checked(weight, rank), self.sizes(weight.shape)
        return BTTFactors(weight.new_zeros(b, a, c, rank), weight.new_zeros(c, b, rank, d, *weight.shape[2:]))

    def layer(self, dense: nn.Module, factors: BTTFactors) -> nn.Module:
        """Build the layer of these factors, with the bias and the geometry of `dense`."""
        if not isinstance(dense, LAYER_TYPES):
            raise ValueError(wrong_kind(dense))
        if factors.num_params == 0:
            return ZeroRank(dense)
        kind = BTTLinear if isinstance(dense, nn.Linear) else BTTConv
        return kind(dense, factors.left, factors.right)

    def _checked(self, weight: Tensor, rank: Rank) -> int:
        """Return the rank if each block can have it, else raise `ValueError`."""
        a, _, _, d = self.sizes(weight.shape)
        largest = min(a, d * math.prod(weight.shape[2:]))
        if not isinstance(rank, int) or not 0 <= rank <= largest:
            shape = tuple(weight.shape)
            raise ValueError(f"rank: expected an int from 0 to {largest} for a weight of {shape}, got {rank!r}")
        return rank


@dataclass(frozen=True)
class BTTAnalysis:
    """The blocks of a weight at scale 1, the bases of their smaller sides, and the energy of each rank in all."""

    weight: Tensor
    format: BTT
    blocks: Float64[Tensor, "b c a columns"]
    scale: float
    energy: Float64[Tensor, " rank"]
    basis: Float64[Tensor, "b c side side"]

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return every useful rank, with its exact error."""
        energy = self.energy.cpu()
        ranks = torch.arange(len(energy) + 1)[:, None]
        num_params, macs = self.format.count(site, ranks)
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
            multiple_of=multiple_of,
        )

    def decompose(self, rank: Rank) -> BTTFactors:
        """Return the best factors of `rank`; both share the roots of each block's singular values."""
        rank = self.format._checked(self.weight, rank)
        left, right = with_shared_roots(self.blocks, self.basis[..., :rank])
        left, right = ((factor * self.scale**0.5).to(self.weight.dtype) for factor in (left, right))
        (b, c), d = self.blocks.shape[:2], self.format.sizes(self.weight.shape)[3]
        right = right.transpose(0, 1).reshape(c, b, rank, d, *self.weight.shape[2:])  # from (β, γ, σ, δ kernel)
        return BTTFactors(left.transpose(1, 2).contiguous(), right)
