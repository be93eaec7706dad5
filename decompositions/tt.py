"""Tensor trains for layers: the TT-matrix [NPOV15] of a linear layer, two trains joined by a convolution for others.

    linear        W(m_1…m_d, n_1…n_d) = G_1(m_1 n_1) … G_d(m_d n_d),     out = Π m_k, in = Π n_k
    convolution   W(s_1…s_p, kernel, c_1…c_q) = S_1(s_1) … S_p(s_p) K(kernel) C_1(c_1) … C_q(c_q)

The second is the "tensor train connected by convolutions" of [WZCLDL21], as far as its abstract tells (a
reconstruction): input cores, a k×k convolution between few channels, output cores. With `kernel="first"` it is
[GPNV16]'s instead: W = K(kernel) G_1(s_1 c_1) … G_d(s_d c_d). Errors of all ranks, and the ranks
that pay, are in `linalg.tt_svd` and `linalg.tt_bound`: the frontier holds a bound that the error of the cores never
exceeds; for convolutions it is mostly a few percent below.

[NPOV15] Novikov, Podoprikhin, Osokin & Vetrov, Tensorizing neural networks, NIPS 2015.
[GPNV16] Garipov, Podoprikhin, Novikov & Vetrov, Ultimate tensorization, arXiv:1611.03214, 2016.
[WZCLDL21] Wang, Zhao, Chen, Liu, Deng & Li, Nonlinear tensor train format for deep neural network compression,
    Neural Networks 144, 2021.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le, MinLen
from jaxtyping import Int64
from torch import Tensor, nn

from decompositions.core.frontier import Frontier, Rank, pareto_frontier
from decompositions.core.mode_axes import ModeAxes
from decompositions.core.site import Site
from decompositions.layers.base import ZeroRank
from decompositions.layers.geometry import positions_between
from decompositions.layers.tt import TTConv, TTLinear
from decompositions.layers.tt_kernel_first import TTKernelFirst, kernel_order
from decompositions.linalg.canonical import equal_norms, left_orthogonal
from decompositions.linalg.moments import Kronecker, apply
from decompositions.linalg.spectrum import scaled, tails
from decompositions.linalg.tensorize import Layout, modes_of_sides, refuse_unused_keys
from decompositions.linalg.tt_bound import error_bound, shared_energies
from decompositions.linalg.tt_contraction import CoreShape, merge_macs, plan
from decompositions.linalg.tt_svd import bond_limits, contract, hull, num_params, tt_svd, unfolding_spectra

Count = Callable[[Site, Int64[Tensor, "rank mode"]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class TTFactors:
    """Cores `(r_{k−1}, size_k, r_k)` over the modes of `layout`."""

    cores: tuple[Tensor, ...]
    layout: Layout

    def to_tensor(self) -> Tensor:
        """Contract the cores: the approximate weight, `(out, in, *kernel)`."""
        return self.layout.from_train(contract(self.cores))

    @property
    def num_params(self) -> int:
        """Count the numbers in all cores."""
        return sum(core.numel() for core in self.cores)

    def mode_product(self, maps: Sequence[Kronecker | None], dtype: torch.dtype) -> TTFactors:
        """Return the cores with a matrix on the mode of each (see `core.whitening.ModeFactors`)."""
        cores = []
        for matrix, core in zip(maps, self.cores, strict=True):
            sides = core.movedim(1, 0)  # (size, r_{k−1}, r_k)
            cores.append(apply(matrix, sides.flatten(1)).reshape(sides.shape).movedim(0, 1))
        return replace(self, cores=tuple(core.to(dtype) for core in left_orthogonal(cores)))


@dataclass(frozen=True)
class TT:
    """Cut each side of a layer into `num_modes` balanced modes, or into those given for it in `modes`.

    `modes` maps a size, written as text, to its modes: `{"1024": [4, 8, 8, 4]}`; `out_32`, `in_32` and `in_64x32` are
    narrower keys (see `tensorize.modes_of_sides`). `kernel` says where the kernel of a convolution stands: in the
    middle of two trains, or first, as in [GPNV16].
    """

    num_modes: Annotated[int, Ge(2), Le(10)] = 3
    modes: dict[str, Annotated[list[Annotated[int, Ge(1)]], MinLen(1)]] | None = None
    kernel: Literal["middle", "first"] = "middle"

    def layout(self, shape: Sequence[int]) -> Layout:
        """Return the modes of a weight of this shape; a side with fewer modes than its partner gets modes of size 1."""
        out, into = modes_of_sides(shape, self.num_modes, self.modes)
        layout = Layout(tuple(shape), out, into, kernel_first=self.kernel == "first")
        length = max(len(out), len(into))
        padded = [(*modes, *[1] * (length - len(modes))) for modes in (out, into)]
        return replace(layout, out=padded[0], into=padded[1]) if layout.in_pairs else layout

    def mode_axes(self, weight: Tensor) -> ModeAxes:
        """Return the mode of each core."""
        layout = self.layout(weight.shape)
        num_out, num_sides = len(layout.out), len(layout.out) + len(layout.into)
        kernel = [tuple(range(num_sides, num_sides + weight.ndim - 2))] if layout.kernel is not None else []
        out, into = [(k,) for k in range(num_out)], [(k,) for k in range(num_out, num_sides)]
        pairs = [(*m, *n) for m, n in zip(out, into, strict=True)] if layout.in_pairs else []
        groups = [*kernel, *pairs] if layout.in_pairs else [*out, *kernel, *into]
        return ModeAxes((*layout.out, *layout.into, *weight.shape[2:]), tuple(groups), num_out)

    def check_sites(self, sites: Mapping[str, Site]) -> None:
        """Raise `ValueError` for a key of `modes` that no layer uses."""
        refuse_unused_keys((site.weight.shape for site in sites.values()), self.modes)

    def analyse(self, weight: Tensor) -> TTAnalysis:
        """Compute the spectra of all unfoldings."""
        layout, (tensor, scale) = self.layout(weight.shape), scaled(weight)
        train = layout.to_train(tensor)
        energies, bases = unfolding_spectra(train)
        shared = shared_energies(train, bases)
        by_bond, by_pair = (tuple(part * scale**2 for part in parts) for parts in (energies, shared))
        return TTAnalysis(weight, self, layout, by_bond, by_pair, tuple(bases))

    def count(self, site: Site, ranks: Int64[Tensor, "rank mode"]) -> tuple[Tensor, Tensor]:
        """Count `Σ r_{k−1} size_k r_k` parameters and the bias; multiply-adds in the order planned for one sample."""
        layout = self.layout(site.weight.shape)
        return self.count_params(site, ranks), torch.tensor(
            [_macs(layout, site, row) for row in ranks.tolist()], dtype=torch.int64
        )

    def count_params(self, site: Site, ranks: Int64[Tensor, "rank mode"]) -> Int64[Tensor, " rank"]:
        """Count the parameters alone: `Σ r_{k−1} size_k r_k` and the bias."""
        layout = self.layout(site.weight.shape)
        counts = [num_params(layout.sizes, row) + site.num_bias for row in ranks.tolist()]
        return torch.tensor(counts, dtype=torch.int64)

    def zeros(self, weight: Tensor, rank: Rank) -> TTFactors:
        """Return zero cores at these bond ranks."""
        layout = self.layout(weight.shape)
        bonds = (1, *_checked(layout, rank), 1)
        shapes = [(bonds[k], size, bonds[k + 1]) for k, size in enumerate(layout.sizes)]
        return TTFactors(tuple(weight.new_zeros(shape) for shape in shapes), layout)

    def layer(self, dense: nn.Module, factors: TTFactors) -> nn.Module:
        """Build the layer of these cores, with the bias and the geometry of `dense`."""
        if factors.num_params == 0:
            return ZeroRank(dense)
        layout, cores = factors.layout, factors.cores
        if layout.in_pairs:
            first, paired = ([], cores) if layout.kernel is None else (cores[:1], cores[1:])
            modes = zip(paired, layout.out, layout.into, strict=True)
            chain = [core.reshape(len(core), m, n, core.shape[2]) for core, m, n in modes]
            return TTKernelFirst(dense, first[0], chain) if first else TTLinear(dense, chain)
        num_out = len(layout.out)
        return TTConv(dense, cores[:num_out], cores[num_out], cores[num_out + 1 :])


@dataclass(frozen=True)
class TTAnalysis:
    """The squared singular values of a weight's unfoldings, what pairs of bonds share, and the bases for TT-SVD."""

    weight: Tensor
    format: TT
    layout: Layout
    energies: tuple[Tensor, ...]  # each falling, float64
    shared: tuple[Tensor, ...]  # see `linalg.tt_bound`
    bases: tuple[Tensor, ...]

    def frontier(
        self,
        site: Site,
        min_rank: int = 1,
        count: Count | None = None,
        *,
        dense: bool = True,
        multiple_of: int = 1,
    ) -> Frontier:
        """Return the bond ranks on the hull of parameters and error bound; `count` replaces the format's own."""
        energies = [energy.cpu() for energy in self.energies]
        beyond = [tails(energy) for energy in energies]
        bounds = [tail.numpy() for tail in beyond]
        chosen = hull(self.layout.sizes, bounds, min_rank, site.num_params, multiple_of)
        chosen += [tuple([0] * len(beyond))] * (min_rank == 0)
        ranks = torch.tensor(chosen, dtype=torch.int64).reshape(-1, len(beyond))
        norm = float(energies[0].sum())
        errors = error_bound(self.layout.sizes, beyond, [part.cpu() for part in self.shared], ranks)
        params, macs = (count or self.format.count)(site, ranks)
        return pareto_frontier(
            ranks,
            params,
            macs,
            errors.clamp(max=norm),  # the bound may say more than all
            dense_params=site.num_params,
            dense_macs=site.macs,
            squared_norm=norm,
            min_rank=min_rank,
            dense=dense,
            largest=bond_limits(self.layout.sizes),
            multiple_of=multiple_of,
        )

    def decompose(self, rank: Rank) -> TTFactors:
        """Return the cores of TT-SVD at these bond ranks, scaled to the same norm."""
        ranks = _checked(self.layout, rank)
        if not any(ranks):
            return self.format.zeros(self.weight, rank)
        tensor, scale = scaled(self.weight)
        cores = tt_svd(self.layout.to_train(tensor), ranks, self.bases)
        cores = equal_norms(cores, scale)
        return TTFactors(tuple(core.to(self.weight.dtype) for core in cores), self.layout)


def core_shapes(bonds: Sequence[int], modes: Sequence[tuple[int, int]]) -> tuple[CoreShape, ...]:
    """Return `(r_{k−1}, m_k, n_k, r_k)` of every core, from the ranks `bonds` on both sides of each."""
    return tuple((a, m, n, b) for (a, b), (m, n) in zip(itertools.pairwise(bonds), modes, strict=True))


def _macs(layout: Layout, site: Site, ranks: Sequence[int]) -> int:
    if 0 in ranks:
        return 0
    bonds = (1, *ranks, 1)
    if layout.in_pairs:
        paired = bonds if layout.kernel is None else bonds[1:]
        shapes = core_shapes(paired, list(zip(layout.out, layout.into, strict=True)))
        if layout.kernel is None:
            return sum(plan(shapes, math.prod(after), "cpu").macs for _, after in site.calls)
        return sum(
            kernel_order(shapes, layout.kernel, 1, math.prod(before), math.prod(after), "cpu").macs
            for before, after in site.calls
        )
    assert layout.kernel is not None
    num_out = len(layout.out)
    first, last = bonds[num_out], bonds[num_out + 1]
    out = [(bonds[k], size, 1, bonds[k + 1]) for k, size in enumerate(layout.out)]
    into = [(bonds[k], 1, size, bonds[k + 1]) for k, size in enumerate(layout.into, start=num_out + 1)]
    per_call = (merge_macs(out) + merge_macs(into)) * len(site.calls)
    before, after = positions_between(site.calls, ()), site.positions
    return per_call + layout.shape[1] * last * before + (last * layout.kernel * first + first * layout.shape[0]) * after


def _checked(layout: Layout, rank: Rank) -> tuple[int, ...]:
    """Return the bond ranks if a train can have them, else raise `ValueError`."""
    limits, sizes = bond_limits(layout.sizes), layout.sizes
    ranks = rank if isinstance(rank, tuple) else (rank,)
    fits = len(ranks) == len(limits) and all(0 <= r <= high for r, high in zip(ranks, limits, strict=True))
    # A core is a matrix from either side: no bond is larger than its neighbour times the mode between them.
    pairs = zip(itertools.pairwise((1, *ranks, 1)), sizes, strict=False)
    fits = fits and (not any(ranks) or all(a <= size * b and b <= size * a for (a, b), size in pairs))
    if not fits:
        wanted = ", ".join(f"from 0 to {high}" for high in limits)
        raise ValueError(
            f"rank: expected {len(limits)} bond ranks {wanted}, each at most its neighbour times the mode between them "
            f"(modes {sizes}), or all 0, got {rank!r}"
        )
    return ranks
