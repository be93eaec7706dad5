"""The metric in which a format approximates a weight: how much an error matters in each output and each input.

    ‖D‖²_G = tr(G_out D G_in Dᵀ),     D = W − Θ as a matrix, out × in·kernel

With `G_in = Σ x xᵀ` over the layer's inputs it is the squared error of the layer's outputs. A format whose factors each
belong to one mode of the weight needs nothing new where G is a Kronecker product over these modes, `G = ⊗ G_k`: it
factorises `W̃ = W ×_k L_k` with `G_k = L_k L_k`, the error of `W̃` is the error in the metric, and each factor is mapped
back by `L_k⁺`. So frontiers that are exact stay exact. Where one moment spreads over several modes, it is replaced by
the Kronecker product of its partial traces, which has the same trace.

The roots are symmetric, from eigenvalues: second moments of few samples are singular, and Cholesky's factor of such a
matrix does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from decompositions.core.format import Analysis, Factors, Format
from decompositions.core.frontier import Frontier, Rank
from decompositions.core.site import Site
from decompositions.linalg.moments import kronecker, partial_trace, product, root_and_inverse, times_mode

# Calibration data: batches `(inputs, labels)`, or of inputs alone for metrics that need no labels.
Batches = Iterable[Tensor | tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class SiteMetric:
    """The moments of one layer: of its outputs, `(out)`, and of its inputs, over the axes `(in, *kernel)`.

    Each is a Kronecker product of matrices `(side, side)` or diagonals `(side,)`, whose sides are products of
    neighbouring axes; empty is the identity. `mean`, `(in·kernel,)`, is the mean input that a bias makes up for:
    the layer with the weight Θ gets the bias `b + (W − Θ) mean`.
    """

    out: tuple[Tensor, ...] = ()
    into: tuple[Tensor, ...] = ()
    mean: Tensor | None = None

    def squared_error(self, difference: Tensor) -> float:
        """Return `tr(G_out D G_in Dᵀ)` of a difference of weights, `(out, in, *kernel)`."""
        tensor = difference.detach().double().flatten(1)
        weighted = tensor
        for side, moments in (((0,), self.out), ((1,), self.into)):
            if moments:
                weighted = times_mode(weighted, side, product(moments))
        return float((tensor * weighted).sum())


@runtime_checkable
class Metric(Protocol):
    """A way to measure how much errors matter. Implementations are frozen dataclasses whose fields are its options."""

    def measure(self, network: nn.Module, sites: Mapping[str, Site], batches: Batches) -> dict[str, SiteMetric]:
        """Return the metric of each site that the calibration data reach; the network is as it was before.

        Raises `ValueError` if labels are needed and `batches` have none.
        """
        ...


@dataclass(frozen=True)
class ModeAxes:
    """How a format groups the axes of a weight into modes.

    `sizes` cut the axes `(out, in, *kernel)` further, `out=8` into `2, 4` for example; `groups` has the indices of
    `sizes` that belong to each mode, in rising order; the first `num_out` sizes are the outputs'.
    """

    sizes: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    num_out: int = 1


@runtime_checkable
class ModeFactors(Factors, Protocol):
    """Factors of which each mode of the weight has one of its own."""

    def times(self, maps: Sequence[Tensor | None], dtype: torch.dtype) -> ModeFactors:
        """Return the factors of the weight with a matrix, a diagonal, or None (the identity) on each mode."""
        ...


@runtime_checkable
class ModeFormat(Format, Protocol):
    """A format whose factors are `ModeFactors`."""

    def mode_axes(self, weight: Tensor) -> ModeAxes:
        """Return the modes of a weight of this shape."""
        ...


@runtime_checkable
class MetricFormat(Format, Protocol):
    """A format that factorises in a metric in a way of its own, because its factors are parts of the weight."""

    def analyse_in(self, weight: Tensor, metric: SiteMetric) -> Analysis:
        """Factorise `weight` once for all ranks; the errors of its frontier are those in the metric."""
        ...


@dataclass(frozen=True)
class MetricAnalysis:
    """The analysis of `W̃`; its errors are those in the metric, its factors are mapped back."""

    inner: Analysis
    inverse_roots: tuple[Tensor | None, ...]
    dtype: torch.dtype

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True) -> Frontier:
        """Return the frontier with the errors in the metric."""
        return self.inner.frontier(site, min_rank, dense=dense)

    def decompose(self, rank: Rank) -> Factors:
        """Return the factors of the weight itself."""
        factors = self.inner.decompose(rank)
        assert isinstance(factors, ModeFactors)
        return factors.times(self.inverse_roots, self.dtype)


def analyse_in(format: Format, weight: Tensor, metric: SiteMetric | None) -> Analysis:
    """Factorise `weight` in a metric, once for all ranks; None is the identity, and the format's own `analyse`.

    Raises `ValueError` if the format serves the identity alone.
    """
    if metric is None:
        return format.analyse(weight)
    if isinstance(format, MetricFormat):
        return format.analyse_in(weight, metric)
    if isinstance(format, ModeFormat):
        return analyse_by_modes(format, format.mode_axes(weight), weight, metric)
    raise ValueError(
        f"metric: format {type(format).__name__} serves the metric identity alone; a format has `modes` or "
        "`analyse_in` to serve others"
    )


def analyse_by_modes(format: Format, modes: ModeAxes, weight: Tensor, metric: SiteMetric) -> MetricAnalysis:
    """Factorise `W̃ = W ×_k L_k`, whose error is the error in the metric."""
    roots = [None if moment is None else root_and_inverse(moment) for moment in mode_moments(metric, modes)]
    tensor = weight.detach().double().reshape(modes.sizes)
    for group, pair in zip(modes.groups, roots, strict=True):
        tensor = tensor if pair is None else times_mode(tensor, group, pair[0])
    inverses = tuple(None if pair is None else pair[1] for pair in roots)
    return MetricAnalysis(format.analyse(tensor.reshape(weight.shape)), inverses, weight.dtype)


def mode_moments(metric: SiteMetric, modes: ModeAxes) -> list[Tensor | None]:
    """Return the moment of each mode, None for the identity; their Kronecker product has the trace of the metric's."""
    parts: list[dict[int, Tensor]] = [{} for _ in modes.groups]  # of each mode, by the first axis of the part
    for axes, moment in (*_placed(metric.out, modes, 0), *_placed(metric.into, modes, modes.num_out)):
        touched = [g for g, group in enumerate(modes.groups) if set(group) & set(axes)]
        trace = float(moment.sum() if moment.ndim == 1 else moment.trace())
        scale = trace ** (1 / len(touched) - 1) if trace > 0 else 1.0
        sizes = [modes.sizes[axis] for axis in axes]
        for g in touched:
            kept = [k for k, axis in enumerate(axes) if axis in modes.groups[g]]
            parts[g][axes[kept[0]]] = partial_trace(moment, sizes, kept) * scale
    return [
        kronecker(part, group, modes.sizes) if part else None for part, group in zip(parts, modes.groups, strict=True)
    ]


def _placed(moments: Sequence[Tensor], modes: ModeAxes, axis: int) -> list[tuple[list[int], Tensor]]:
    """Return each moment with the axes that it is over, the first from `axis` on."""
    placed = []
    for moment in moments:
        axes, side = [axis], modes.sizes[axis]
        while side < len(moment):
            axes.append(axes[-1] + 1)
            side *= modes.sizes[axes[-1]]
        placed.append((axes, moment))
        axis = axes[-1] + 1
    return placed
