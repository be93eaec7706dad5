"""Tucker: a linear layer's sides cut into modes, all of them in orthonormal bases around a small core [Tuc66].

    W(m_1…m_p, n_1…n_q) ≈ G ×₁ U_1 … ×_{p+q} U_{p+q},     out = Π m_k, in = Π n_k, U_k (size_k, r_k)

With the full bases of all unfoldings (HOSVD [LMV00]) and the squared entries `e_i` of the full core,

    ‖W − Ŵ_r‖² = Σ_{i_k > r_k for any k} e_i

so one decomposition and one pass of cumulative sums give the error of all rank tuples. These are too many to list: the
frontier has those of a grid, whose ranks are spread over each mode. For the chosen tuple HOOI [LMV00b] refines the
bases until they stay (see `linalg.hooi`); the error falls or stays. The modes of a kernel are too small to pay for a
basis each: convolutions are written as Tucker-2, 1×1 convolutions as SVD.

TensorLy's `tucker` is only the reference of the tests: it decomposes anew for every tuple, by SVDs of the unfoldings.

[Tuc66] Tucker, Some mathematical notes on three-mode factor analysis, Psychometrika 1966.
[LMV00] De Lathauwer, De Moor & Vandewalle, A multilinear singular value decomposition, SIAM J. Matrix Anal. Appl. 2000.
[LMV00b] the same, On the best rank-1 and rank-(R1, …, RN) approximation of higher-order tensors, ibid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le, MinLen
from jaxtyping import Float64, Int64
from torch import Tensor, nn

from decompositions.core.fallback import FormatWithFallback
from decompositions.core.frontier import Frontier, Rank, Unfolding, pareto_frontier
from decompositions.core.mode_axes import ModeAxes
from decompositions.core.site import Site
from decompositions.layers.base import ZeroRank
from decompositions.layers.tucker import TuckerFactors, TuckerLinear, times
from decompositions.linalg.hooi import hooi
from decompositions.linalg.multiples import rounded_up
from decompositions.linalg.spectrum import eigh, scaled
from decompositions.linalg.tensorize import modes_of_sides, refuse_unused_keys
from decompositions.tucker2 import Tucker2

# How many rank tuples the grid of a frontier has at most.
MAX_TUPLES = 2**16


@dataclass(frozen=True)
class Tucker(FormatWithFallback):
    """Cut each side of a linear layer into `num_modes` balanced modes, or into those given for it in `modes`.

    The keys of `modes` are sizes, as text, or narrower ones (see `tensorize.modes_of_sides`).
    HOOI refines the chosen ranks, of convolutions too, until a sweep lowers the squared error by less than `tolerance`
    of itself, in at most `max_sweeps`.
    """

    num_modes: Annotated[int, Ge(2), Le(10)] = 2
    modes: dict[str, Annotated[list[Annotated[int, Ge(1)]], MinLen(1)]] | None = None
    max_sweeps: Annotated[int, Ge(0)] = 50
    tolerance: Annotated[float, Ge(0)] = 1e-4

    def split(self, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the modes of the outputs and those of the inputs."""
        return modes_of_sides(shape, self.num_modes, self.modes)

    def check_sites(self, sites: Mapping[str, Site]) -> None:
        """Raise `ValueError` for a key of `modes` that no linear layer uses."""
        weights = (site.weight for site in sites.values())
        refuse_unused_keys((weight.shape for weight in weights if self.fallback(weight) is None), self.modes)

    def fallback(self, weight: Tensor) -> Tucker2 | None:
        """Return Tucker-2 for a convolution: the modes of a kernel are too small to pay for a basis each."""
        return Tucker2(self.max_sweeps, self.tolerance) if weight.ndim > 2 else None

    def mode_axes(self, weight: Tensor) -> ModeAxes:
        """Return the modes of the outputs and those of the inputs."""
        out, into = self.split(weight.shape)
        return ModeAxes((*out, *into), tuple((k,) for k in range(len(out) + len(into))), len(out))

    def _analyse(self, weight: Tensor) -> TuckerAnalysis:
        """Compute the bases of all modes and the energies of the full core."""
        tensor, scale = scaled(weight)
        out, into = self.split(weight.shape)
        tensor = tensor.reshape(*out, *into)
        energies, bases = zip(*(eigh(_mode_gram(tensor, mode)) for mode in range(tensor.ndim)), strict=True)
        core_energy = times(tensor, [basis.T for basis in bases]).square() * scale**2
        return TuckerAnalysis(weight, self, tuple(energy * scale**2 for energy in energies), tuple(bases), core_energy)

    def _count(self, site: Site, ranks: Int64[Tensor, "rank mode"]) -> tuple[Tensor, Tensor]:
        """Count `Π r_k + Σ size_k r_k` parameters and the bias; multiply-adds in the order of `TuckerLinear`'s pass."""
        out, into = (torch.tensor(modes) for modes in self.split(site.weight.shape))
        core = ranks.prod(1)
        num_params = core + (ranks * torch.cat([out, into])).sum(1) + site.num_bias
        # The last mode goes first: those before it are still as before, those after it done.
        macs = core + _mode_products(into, ranks[:, len(out) :]) + _mode_products(ranks[:, : len(out)], out)
        return num_params, macs * site.positions

    def _zeros(self, weight: Tensor, rank: Rank) -> TuckerFactors:
        out, into = self.split(weight.shape)
        ranks = _checked((*out, *into), rank)
        bases = tuple(weight.new_zeros(pair) for pair in zip((*out, *into), ranks, strict=True))
        return TuckerFactors(weight.new_zeros(ranks), bases, len(out))

    def _layer(self, dense: nn.Module, factors: TuckerFactors) -> nn.Module:
        """Build a `TuckerLinear` with these factors and the bias of `dense`."""
        return TuckerLinear(dense, factors) if factors.num_params else ZeroRank(dense)


@dataclass(frozen=True)
class TuckerAnalysis:
    """A weight in the bases of its modes; `core_energy` has the squared entries of the full core."""

    weight: Tensor
    format: Tucker
    energies: tuple[Tensor, ...]  # each falling, float64
    bases: tuple[Tensor, ...]  # (size_k, size_k)
    core_energy: Tensor

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return the rank tuples of the grid that no other beats, by their exact errors before HOOI."""
        sizes = self.core_energy.shape
        grid = _grid(sizes, max(min_rank, 1), multiple_of)
        ranks = torch.cartesian_prod(*map(torch.tensor, grid)).reshape(-1, len(sizes))
        errors = _tail_sums(_block_sums(self.core_energy, grid).cpu()).flatten()
        norm = float(self.core_energy.sum())
        if min_rank == 0:
            ranks = torch.cat([ranks.new_zeros(1, len(sizes)), ranks])
            errors = torch.cat([errors.new_full((1,), norm), errors])
        num_params, macs = self.format.count(site, ranks)
        shapes = [(size, self.weight.numel() // size) for size in sizes]
        return pareto_frontier(
            ranks,
            num_params,
            macs,
            errors,
            dense_params=site.num_params,
            dense_macs=site.macs,
            squared_norm=norm,
            min_rank=min_rank,
            dense=dense,
            unfoldings=tuple(Unfolding(e.cpu(), s) for e, s in zip(self.energies, shapes, strict=True)),
            largest=sizes,
            multiple_of=multiple_of,
        )

    def decompose(self, rank: Rank) -> TuckerFactors:
        """Return the truncated HOSVD at these ranks, refined by HOOI; the core carries the scale."""
        sizes = self.core_energy.shape
        ranks = _checked(sizes, rank)
        tensor, scale = scaled(self.weight)
        tensor = tensor.reshape(sizes)

        def gram(bases: Sequence[Tensor], mode: int) -> Tensor:
            # Turning a whole mode leaves the other modes' Gram matrices as they are: only cut ones are multiplied.
            cut = [basis.T if k != mode and basis.shape[1] < len(basis) else None for k, basis in enumerate(bases)]
            return _mode_gram(times(tensor, cut), mode)

        bases = hooi(
            gram,
            [basis[:, :r] for basis, r in zip(self.bases, ranks, strict=True)],
            float(tensor.norm()) ** 2,
            max_sweeps=self.format.max_sweeps,
            tolerance=self.format.tolerance,
        )
        core, *bases = (f.to(self.weight.dtype) for f in (times(tensor, [b.T for b in bases]) * scale, *bases))
        return TuckerFactors(core, tuple(bases), len(self.format.split(self.weight.shape)[0]))


def _checked(sizes: Sequence[int], rank: Rank) -> tuple[int, ...]:
    """Return the ranks if they are within the modes and all 0 or none 0, else raise `ValueError`."""
    ranks = rank if isinstance(rank, tuple) else (rank,)
    fits = len(ranks) == len(sizes) and all(0 <= r <= high for r, high in zip(ranks, sizes, strict=True))
    if not fits or min(ranks) == 0 < max(ranks):
        wanted = ", ".join(f"from 0 to {high}" for high in sizes)
        raise ValueError(f"rank: expected {len(sizes)} ranks {wanted}, or all 0, got {rank!r}")
    return ranks


def _mode_gram(tensor: Tensor, mode: int) -> Float64[Tensor, "side side"]:
    unfolding = tensor.movedim(mode, 0).flatten(1)
    return unfolding @ unfolding.T


def _mode_products(before: Tensor, after: Tensor) -> Int64[Tensor, " rank"]:
    """Count the multiply-adds of taking each mode from its size in `before` to that in `after`, the last first."""
    return (before.cumprod(-1) * after.flip(-1).cumprod(-1).flip(-1)).sum(-1)


def _grid(sizes: Sequence[int], low: int, step: int = 1) -> list[list[int]]:
    """Return ranks of each mode, in rising order up to its size, that form at most `MAX_TUPLES` tuples.

    Small modes, which do not need their share of the tuples, leave the rest of it to larger ones. All but the last of
    each mode are multiples of `step`.
    """
    grid: dict[int, list[int]] = {}
    num_left = MAX_TUPLES
    for mode in sorted(range(len(sizes)), key=sizes.__getitem__):
        share = int(num_left ** (1 / (len(sizes) - len(grid))) + 1e-9)  # a root may come out as 7.999…
        size, least = sizes[mode], min(low, sizes[mode])
        grid[mode] = sorted({*rounded_up(_spread(least, size, share), least, size, step), size})
        num_left //= len(grid[mode])
    return [grid[mode] for mode in range(len(sizes))]


def _spread(low: int, high: int, num: int) -> list[int]:
    """Return at most `num` ranks from `low` to `high`, at steps of equal ratio but at least 1; one is `high`."""
    steps = min(num, high - low + 1) - 1
    if steps < 1:
        return [high]
    return sorted({max(low + k, round(low * (high / low) ** (k / steps))) for k in range(steps + 1)})


def _block_sums(energy: Tensor, grid: Sequence[Sequence[int]]) -> Tensor:
    """Return the sums over the blocks into which the ranks of `grid` cut each axis."""
    for axis, ranks in enumerate(grid):
        widths = [high - low for low, high in zip((0, *ranks), ranks, strict=False)]
        energy = torch.stack([block.sum(axis) for block in energy.split(widths, axis)], axis)
    return energy


def _tail_sums(energy: Tensor) -> Tensor:
    """Return at `(a, b, …)` the sum of all entries beyond a on the first axis, or beyond b on the second, or …

    Only small numbers are added: a difference of large ones would give a weight of low rank an error of rounding.
    """
    tails = torch.zeros_like(energy)
    for axis in range(energy.ndim):  # within on all axes before, beyond on this one, anywhere on those after
        rest = energy.sum(tuple(range(axis + 1, energy.ndim)), keepdim=True) if axis + 1 < energy.ndim else energy
        from_here = rest.flip(axis).cumsum(axis).flip(axis)
        beyond = from_here.narrow(axis, 1, rest.shape[axis] - 1)
        tails += torch.cat([beyond, torch.zeros_like(rest.narrow(axis, 0, 1))], axis)
        energy = energy.cumsum(axis)
    return tails
