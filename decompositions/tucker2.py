"""Tucker-2: a convolution's two channel modes in orthonormal bases around a small core [KPYCYS16].

    W ≈ G ×₁ U ×₂ V        (out, in, *kernel) ≈ (r₁, r₂, *kernel), (out, r₁), (in, r₂)

With the full bases of both unfoldings (truncated HOSVD [LMV00]) and the full core's energies `e_ij = Σ_kernel G_ij²`,

    ‖W − Ŵ_(r₁,r₂)‖² = Σ_{i>r₁ or j>r₂} e_ij

so one decomposition and one cumulative sum give the error of all rank pairs. For the chosen pair HOOI [LMV00b] refines
the bases until they stay (see `linalg.hooi`); the error falls or stays. A matrix (linear layer, 1×1 convolution) has no
kernel around which a core would pay: its Tucker-2 is the SVD with one rank. TensorLy's `partial_tucker` is the
reference of the tests; it decomposes anew for every pair of ranks.

[KPYCYS16] Kim et al., Compression of deep CNNs for fast and low power mobile applications, ICLR 2016.
[LMV00] De Lathauwer, De Moor & Vandewalle, A multilinear singular value decomposition, SIAM J. Matrix Anal. Appl. 2000.
[LMV00b] the same, On the best rank-1 and rank-(R1, …, RN) approximation of higher-order tensors, ibid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from decompositions.core.fallback import FormatWithFallback
from decompositions.core.format import Analysis
from decompositions.core.frontier import Frontier, Rank, Unfolding, pareto_frontier
from decompositions.core.low_rank import is_matrix
from decompositions.core.metric import SiteMetric
from decompositions.core.mode_axes import ModeAxes
from decompositions.core.site import Site
from decompositions.layers.base import FactoredSequential, ZeroRank
from decompositions.layers.geometry import part_of, positions_between
from decompositions.linalg.canonical import orthonormal_bases
from decompositions.linalg.hooi import hooi
from decompositions.linalg.moments import Kronecker, apply
from decompositions.linalg.patch_tucker2 import PatchTucker2
from decompositions.linalg.spectrum import eigh, scaled
from decompositions.svd import SVD


@dataclass(frozen=True)
class Tucker2Factors:
    """`core ×₁ out ×₂ into`: the core `(r₁, r₂, *kernel)` and the bases of outputs and inputs."""

    core: Float[Tensor, "rank_out rank_in *kernel"]
    out: Float[Tensor, "out rank_out"]
    into: Float[Tensor, "in rank_in"]

    def to_tensor(self) -> Tensor:
        """Multiply the factors: the approximate weight, `(out, in, *kernel)`."""
        grown = torch.matmul(self.into, self.core.flatten(2))  # (r₁, in, kernel)
        return torch.tensordot(self.out, grown, dims=1).reshape(len(self.out), len(self.into), *self.core.shape[2:])

    @property
    def num_params(self) -> int:
        """Count the numbers in core and bases."""
        return self.core.numel() + self.out.numel() + self.into.numel()

    def mode_product(self, maps: Sequence[Kronecker | None], dtype: torch.dtype) -> Tucker2Factors:
        """Return the factors with a matrix on outputs, inputs and kernel (see `core.whitening.ModeFactors`)."""
        core = apply(maps[2], self.core.flatten(2).movedim(2, 0).flatten(1)).T.reshape(self.core.shape)
        core, bases = orthonormal_bases(core, [apply(maps[0], self.out), apply(maps[1], self.into)])
        return Tucker2Factors(*(factor.to(dtype) for factor in (core, *bases)))


@dataclass(frozen=True)
class Tucker2(FormatWithFallback):
    """Write a convolution as 1×1, core, 1×1, with ranks `(out, in)`.

    HOOI refines the chosen ranks until a sweep lowers the squared error by less than `tolerance` of itself, in at most
    `max_sweeps`.
    """

    serves_transposed: ClassVar = True

    max_sweeps: Annotated[int, Ge(0)] = 50
    tolerance: Annotated[float, Ge(0)] = 1e-4

    def fallback(self, weight: Tensor) -> SVD | None:
        """Return the SVD for a matrix, which has no kernel around which a core would pay."""
        return SVD() if is_matrix(weight) else None

    def mode_axes(self, weight: Tensor) -> ModeAxes:
        """Return three modes: outputs, inputs, kernel."""
        return ModeAxes(tuple(weight.shape), ((0,), (1,), tuple(range(2, weight.ndim))))

    def _analyse(self, weight: Tensor) -> Tucker2Analysis:
        """Compute the bases of both channel modes and the energies of the full core."""
        tensor, scale = _by_kernel(weight)
        (energy_out, out), (energy_into, into) = eigh(_gram_out(tensor)), eigh(_gram_into(tensor))
        core = _times_out(tensor, out) @ into
        core = core.transpose(0, 1).square().sum(0)  # the kernel first: thirty times faster
        energies = energy_out * scale**2, energy_into * scale**2
        return Tucker2Analysis(weight, self, tensor, scale, energies, (out, into), core * scale**2)

    def _analyse_in(self, weight: Tensor, metric: SiteMetric) -> Analysis:
        """With one moment over channels and kernel together, use it whole (`linalg.patch_tucker2`); else whiten."""
        if len(metric.into) != 1 or metric.into[0].ndim == 1 or len(metric.into[0]) < weight[0].numel():
            return super()._analyse_in(weight, metric)
        out, inverse = Kronecker(metric.out).root_and_inverse(metric.rtol) if metric.out else (None, None)
        tensor, scale = scaled(weight.flatten(2))
        whitened = apply(out, tensor.flatten(1)).reshape(tensor.shape)
        patches = PatchTucker2.of(whitened, metric.into[0], metric.rtol)
        return PatchTucker2Analysis(weight, self, scale, patches, inverse)

    def _count(self, site: Site, ranks: Int64[Tensor, "rank 2"]) -> tuple[Tensor, Tensor]:
        """Count `in r₂ + r₁ r₂ kernel + out r₁` parameters and the bias; the first layer has the input's size."""
        first, second = ranks.unbind(1)
        out, into = site.weight.shape[:2]
        core = first * second * site.weight[0, 0].numel()
        before, after = positions_between(site.calls, ()), site.positions
        num_params = into * second + core + out * first + site.num_bias
        return num_params, into * second * before + (core + out * first) * after

    def _zeros(self, weight: Tensor, rank: Rank) -> Tucker2Factors:
        first, second = _checked(weight, rank)
        out, into, *kernel = weight.shape
        shapes = ((first, second, *kernel), (out, first), (into, second))
        return Tucker2Factors(*(weight.new_zeros(shape) for shape in shapes))

    def _layer(self, dense: nn.Module, factors: Tucker2Factors) -> nn.Module:
        """Build a 1×1 convolution, the core with the geometry of `dense`, a 1×1 convolution with the bias."""
        if factors.num_params == 0:
            return ZeroRank(dense)
        bias = dense.bias if isinstance(dense.bias, Tensor) else None
        return FactoredSequential(
            part_of(dense, (), factors.into.T),
            part_of(dense, range(factors.core.ndim - 2), factors.core),
            part_of(dense, (), factors.out, bias),
        )


@dataclass(frozen=True)
class Tucker2Analysis:
    """A weight, `scale` times `tensor`, and its channel modes' bases; `core_energy[i, j]` is `Σ_kernel G_ij²`."""

    weight: Tensor
    format: Tucker2
    tensor: Float64[Tensor, "out kernel into"]
    scale: float
    energies: tuple[Float64[Tensor, " out"], Float64[Tensor, " into"]]
    bases: tuple[Float64[Tensor, "out out"], Float64[Tensor, "into into"]]
    core_energy: Float64[Tensor, "out into"]

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return every pair of ranks that no other beats, by its exact error before HOOI, from one cumulative sum."""
        energy, energies = self.core_energy, self.energies
        return _frontier(self.format, energy, energies, site, min_rank, dense=dense, multiple_of=multiple_of)

    def decompose(self, rank: Rank) -> Tucker2Factors:
        """Return the truncated HOSVD at ranks `(out, in)`, refined by HOOI; the core carries the scale."""
        weight, tensor = self.weight, self.tensor
        first, second = _checked(weight, rank)

        def gram(bases: Sequence[Tensor], mode: int) -> Tensor:
            return _gram_into(_times_out(tensor, bases[0])) if mode else _gram_out(tensor @ bases[1])

        out, into = hooi(
            gram,
            [self.bases[0][:, :first], self.bases[1][:, :second]],
            float(tensor.norm()) ** 2,
            max_sweeps=self.format.max_sweeps,
            tolerance=self.format.tolerance,
        )
        core = (_times_out(tensor, out) @ into).transpose(1, 2) * self.scale  # (r₁, r₂, kernel)
        core, out, into = (factor.to(weight.dtype) for factor in (core, out, into))
        return Tucker2Factors(core.reshape(first, second, *weight.shape[2:]), out, into)


@dataclass(frozen=True)
class PatchTucker2Analysis:
    """A weight, `scale` times the tensor of `patches`, whose outputs were whitened; `inverse_root` undoes that."""

    weight: Tensor
    format: Tucker2
    scale: float
    patches: PatchTucker2
    inverse_root: Kronecker | None

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return every pair of ranks that no other beats, by its exact error before the outputs' basis is refined."""
        energy = self.patches.energy * self.scale**2
        energies = energy.sum(1), energy.sum(0)
        return _frontier(self.format, energy, energies, site, min_rank, dense=dense, multiple_of=multiple_of)

    def decompose(self, rank: Rank) -> Tucker2Factors:
        """Return the factors at ranks `(out, in)`; the core carries the scale."""
        weight, (first, second) = self.weight, _checked(self.weight, rank)
        core, out, into = self.patches.factors(first, second)
        core, bases = orthonormal_bases(core * self.scale, [apply(self.inverse_root, out), into])
        core, out, into = (factor.to(weight.dtype) for factor in (core, *bases))
        return Tucker2Factors(core.reshape(first, second, *weight.shape[2:]), out, into)


def _frontier(
    format: Tucker2,
    core_energy: Float64[Tensor, "out into"],
    energies: tuple[Float64[Tensor, " out"], Float64[Tensor, " into"]],
    site: Site,
    min_rank: int,
    *,
    dense: bool,
    multiple_of: int,
) -> Frontier:
    """Return every pair of ranks that no other beats, from one cumulative sum of the energies of a full core."""
    errors = _tail_sums(core_energy.cpu())  # (out + 1, in + 1), by rank
    pairs = torch.cartesian_prod(torch.arange(errors.shape[0]), torch.arange(errors.shape[1]))
    useful = (pairs > 0).all(1) | (pairs == 0).all(1)  # one rank 0 leaves nothing of the other mode
    pairs, kept = pairs[useful], errors.flatten()[useful]
    num_params, macs = format.count(site, pairs)
    out, into = site.weight.shape[:2]
    kernel = site.weight[0, 0].numel()
    shapes = ((out, into * kernel), (into, out * kernel))
    return pareto_frontier(
        pairs,
        num_params,
        macs,
        kept,
        dense_params=site.num_params,
        dense_macs=site.macs,
        squared_norm=float(core_energy.sum()),
        min_rank=min_rank,
        dense=dense,
        unfoldings=tuple(Unfolding(e.cpu(), s) for e, s in zip(energies, shapes, strict=True)),
        multiple_of=multiple_of,
    )


def _checked(weight: Tensor, rank: Rank) -> tuple[int, int]:
    """Return both ranks if they are within the channels and both 0 or both not, else raise `ValueError`."""
    highs = tuple(weight.shape[:2])
    fits = isinstance(rank, tuple) and len(rank) == 2 and all(0 <= r <= h for r, h in zip(rank, highs, strict=True))
    if not isinstance(rank, tuple) or not fits or (min(rank) == 0 < max(rank)):
        limits = " and ".join(f"from 0 to {high}" for high in highs)
        raise ValueError(
            f"rank: expected (out, in) {limits}, or both 0, for a weight of {tuple(weight.shape)}, got {rank!r}"
        )
    return rank[0], rank[1]


def _by_kernel(weight: Tensor) -> tuple[Float64[Tensor, "out kernel into"], float]:
    """The weight at scale 1, its inputs last: both unfoldings are then matrices without a copy."""
    return scaled(weight.flatten(2).transpose(1, 2))


def _gram_out(tensor: Float64[Tensor, "out kernel into"]) -> Float64[Tensor, "out out"]:
    rows = tensor.flatten(1)
    return rows @ rows.T


def _gram_into(tensor: Float64[Tensor, "out kernel into"]) -> Float64[Tensor, "into into"]:
    columns = tensor.flatten(0, 1)
    return columns.T @ columns


def _times_out(tensor: Float64[Tensor, "out kernel into"], basis: Float64[Tensor, "out rank"]) -> Tensor:
    """Project the outputs; `tensor @ basis` projects the inputs."""
    return (basis.T @ tensor.flatten(1)).reshape(-1, *tensor.shape[1:])


def _tail_sums(energy: Float64[Tensor, "rows columns"]) -> Float64[Tensor, "rows+1 columns+1"]:
    """Return `Σ_{i≥a or j≥b} e_ij` for all a, b: sums of small numbers, not differences of large ones."""
    right = torch.cat([energy.flip(1).cumsum(1).flip(1), energy.new_zeros(len(energy), 1)], dim=1)  # Σ_{j≥b}
    kept_rows = torch.cat([right.new_zeros(1, right.shape[1]), right.cumsum(0)])  # Σ_{i<a, j≥b}
    lost_rows = torch.cat([right[:, 0].flip(0).cumsum(0).flip(0), energy.new_zeros(1)])  # Σ_{i≥a}
    return kept_rows + lost_rows[:, None]
