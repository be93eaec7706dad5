"""Nonlinear tensor train [WZCLDL21]: the contractions of a tensor train with activations between them.

    linear        H_0 = x;  H_k = φ(contract(H_{k−1}, G_{d−k+1}) + b_k), k = 1 … d−1;  y = contract(H_{d−1}, G_1) + b
    convolution   input cores, k×k convolution, output cores, φ after each but the last

φ is `activation(norm(·) + bias)`. With `placement="convolution"` it stands only before and after the k×k convolution,
so that linear layers are plain tensor trains; with the identity and no norm all layers are. A reconstruction: the
paper's text is not at hand, only its abstract, so that activation × norm × placement are options to be swept.

No dense layer equals an NTT layer: errors and ranks are those of the tensor train that it starts from, and it is meant
to be trained from scratch (`reset`) or from that train. The order of contraction is part of the function that it
computes, so it is never planned.

[WZCLDL21] Wang, Zhao, Chen, Liu, Deng & Li, Nonlinear tensor train format for deep neural network compression,
    Neural Networks 144, 2021.
[HZRS15] He, Zhang, Ren & Sun, Delving deep into rectifiers, ICCV 2015.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le, MinLen
from jaxtyping import Int64
from torch import Tensor, nn

from decompositions.core.frontier import Frontier, Rank
from decompositions.core.mode_axes import ModeAxes
from decompositions.core.site import Site
from decompositions.layers.base import ZeroRank
from decompositions.layers.geometry import positions_between
from decompositions.layers.ntt import Between, NTTConv, NTTLinear
from decompositions.linalg.moments import Kronecker
from decompositions.linalg.tensorize import Layout
from decompositions.linalg.tt_contraction import CoreShape, sequence_macs
from decompositions.tt import TT, TTAnalysis, TTFactors, core_shapes


@dataclass(frozen=True)
class NTTFactors:
    """A tensor train, and one bias for each bond with an activation or norm (None for the others)."""

    train: TTFactors
    biases: tuple[Tensor | None, ...]

    def mode_product(self, maps: Sequence[Kronecker | None], dtype: torch.dtype) -> NTTFactors:
        """Return the train with a matrix on the mode of each core, and the biases as they are."""
        biases = tuple(None if bias is None else bias.to(dtype) for bias in self.biases)
        return NTTFactors(self.train.mode_product(maps, dtype), biases)

    def to_tensor(self) -> Tensor:
        """Contract the train alone, without activations, norms and biases."""
        return self.train.to_tensor()

    @property
    def num_params(self) -> int:
        """Count the numbers in cores and biases."""
        return self.train.num_params + sum(bias.numel() for bias in self.biases if bias is not None)


@dataclass(frozen=True)
class NTT:
    """A tensor train of `num_modes` or given `modes` (see `tt`), with `activation` and `norm` at `placement`."""

    activation: Literal["identity", "relu", "leaky_relu", "tanh", "gelu", "silu"] = "relu"
    norm: Literal["none", "batch", "layer"] = "none"
    placement: Literal["between", "convolution"] = "between"
    num_modes: Annotated[int, Ge(2), Le(10)] = 3
    modes: dict[str, Annotated[list[Annotated[int, Ge(1)]], MinLen(1)]] | None = None

    @property
    def train(self) -> TT:
        """Return the format of the tensor train alone."""
        return TT(self.num_modes, self.modes)

    def occupied(self, layout: Layout) -> list[bool]:
        """Return for each bond, from the outputs' to the inputs', whether it has an activation or a norm."""
        num_bonds = len(layout.sizes) - 1
        if self.activation == "identity" and self.norm == "none":
            return [False] * num_bonds
        if self.placement == "between":
            return [True] * num_bonds
        kernel = len(layout.out)
        return [layout.kernel is not None and bond in (kernel - 1, kernel) for bond in range(num_bonds)]

    def mode_axes(self, weight: Tensor) -> ModeAxes:
        """Return the mode of each core."""
        return self.train.mode_axes(weight)

    def check_sites(self, sites: Mapping[str, Site]) -> None:
        """Raise `ValueError` for a key of `modes` that no layer uses."""
        self.train.check_sites(sites)

    def analyse(self, weight: Tensor) -> NTTAnalysis:
        """Compute the spectra of the tensor train."""
        return NTTAnalysis(self, self.train.analyse(weight))

    def count(self, site: Site, ranks: Int64[Tensor, "rank mode"]) -> tuple[Tensor, Tensor]:
        """Count as `TT` does, with `rank` biases for each occupied bond; multiply-adds core by core."""
        layout = self.train.layout(site.weight.shape)
        occupied = self.occupied(layout)
        if not any(occupied):
            return self.train.count(site, ranks)
        params = self.train.count_params(site, ranks) + (ranks * torch.tensor(occupied)).sum(1)
        return params, torch.tensor([_macs(layout, site, row) for row in ranks.tolist()], dtype=torch.int64)

    def zeros(self, weight: Tensor, rank: Rank) -> NTTFactors:
        """Return zero cores and biases at these bond ranks."""
        return self._with_biases(self.train.zeros(weight, rank), rank)

    def layer(self, dense: nn.Module, factors: NTTFactors) -> nn.Module:
        """Build an `NTTLinear` or `NTTConv`, or the layer of the tensor train if no bond is occupied."""
        layout, cores = factors.train.layout, factors.train.cores
        biases = [bias for bias in factors.biases if bias is not None]
        if factors.train.num_params == 0:
            return ZeroRank(dense)
        if not biases:
            return self.train.layer(dense, factors.train)
        between = Between(self.activation, self.norm)
        if layout.kernel is None:
            modes = zip(cores, layout.out, layout.into, strict=True)
            return NTTLinear(dense, [c.reshape(len(c), m, n, c.shape[2]) for c, m, n in modes], biases, between)
        num_out = len(layout.out)
        return NTTConv(dense, cores[:num_out], cores[num_out], cores[num_out + 1 :], factors.biases, between)

    def _with_biases(self, train: TTFactors, rank: Rank) -> NTTFactors:
        ranks = rank if isinstance(rank, tuple) else (rank,)
        biases = [
            train.cores[0].new_zeros(r) if occupied else None
            for r, occupied in zip(ranks, self.occupied(train.layout), strict=True)
        ]
        return NTTFactors(train, tuple(biases))


@dataclass(frozen=True)
class NTTAnalysis:
    """The analysis of the tensor train, counted as a nonlinear one."""

    format: NTT
    train: TTAnalysis

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return the bond ranks of the tensor train, with its error bounds."""
        return self.train.frontier(site, min_rank, self.format.count, dense=dense, multiple_of=multiple_of)

    def decompose(self, rank: Rank) -> NTTFactors:
        """Return the cores of TT-SVD, and biases of 0."""
        return self.format._with_biases(self.train.decompose(rank), rank)


def _macs(layout: Layout, site: Site, ranks: Sequence[int]) -> int:
    if 0 in ranks:
        return 0
    bonds = (1, *ranks, 1)
    if layout.kernel is None:
        shapes = core_shapes(bonds, list(zip(layout.out, layout.into, strict=True)))
        return sequence_macs(shapes, site.positions)
    num_out = len(layout.out)
    before, after = positions_between(site.calls, ()), site.positions
    out: tuple[CoreShape, ...] = core_shapes(bonds[: num_out + 1], [(size, 1) for size in layout.out])
    into = core_shapes(bonds[num_out + 1 :], [(1, size) for size in layout.into])
    kernel = bonds[num_out] * layout.kernel * bonds[num_out + 1]
    return sequence_macs(into, before) + kernel * after + sequence_macs(out, after)
