"""Factorise a weight in a metric: transform it so that errors count alike, factorise, map the factors back.

A format whose factors each belong to one mode of the weight needs nothing new where G is a Kronecker product over these
modes, `G = ⊗ G_k`: it factorises `W̃ = W ×_k L_k` with `G_k = L_k L_k`, the error of `W̃` is the error in the metric,
and each factor is mapped back by the pseudo-inverse `L_k⁺`. So frontiers that are exact stay exact. Where one moment
spreads over several modes, it is replaced by the Kronecker product of its partial traces, which has the same trace.

A format whose factors are parts of the weight (CUR), or that can do better than partial traces, has a way of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from decompositions.core.format import Analysis, Factors, Format
from decompositions.core.frontier import Frontier, Rank
from decompositions.core.metric import SiteMetric
from decompositions.core.site import Site
from decompositions.linalg.moments import Kronecker, partial_trace, times, times_axes, trace


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

    def times(self, maps: Sequence[Kronecker | None], dtype: torch.dtype) -> ModeFactors:
        """Return the factors of the weight with a matrix, or None (the identity), on each mode."""
        ...


@runtime_checkable
class ModeFormat(Format, Protocol):
    """A format whose factors are `ModeFactors`."""

    def mode_axes(self, weight: Tensor) -> ModeAxes:
        """Return the modes of a weight of this shape."""
        ...


@runtime_checkable
class MetricFormat(Format, Protocol):
    """A format that factorises in a metric in a way of its own."""

    def analyse_in(self, weight: Tensor, metric: SiteMetric) -> Analysis:
        """Factorise `weight` once for all ranks; the errors of its frontier are those in the metric."""
        ...


@dataclass(frozen=True)
class WhitenedAnalysis:
    """The analysis of `W̃`; its errors are those in the metric, its factors are mapped back."""

    inner: Analysis
    inverse_roots: tuple[Kronecker | None, ...]
    dtype: torch.dtype

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True) -> Frontier:
        """Return the frontier with the errors in the metric."""
        return self.inner.frontier(site, min_rank, dense=dense)

    def decompose(self, rank: Rank) -> Factors:
        """Return the factors of the weight itself."""
        factors = self.inner.decompose(rank)
        assert isinstance(factors, ModeFactors)
        return factors.times(self.inverse_roots, self.dtype)


@dataclass(frozen=True)
class Whitened:
    """A matrix W in a metric, for formats that are made of its columns and rows, as NumPy arrays.

    `columns` is `L_out W`, `rows` is `W L_in`, `both` is `L_out W L_in`; `input_weights` and `output_weights` are the
    roots of the diagonals of `G_in`, `(columns,)`, and `G_out`, `(rows,)`.
    """

    columns: np.ndarray
    rows: np.ndarray
    both: np.ndarray
    input_weights: np.ndarray
    output_weights: np.ndarray

    @classmethod
    def of(cls, matrix: Tensor, metric: SiteMetric) -> Whitened:
        """Transform `matrix`, `(out, in·kernel)`."""
        out, into = metric.roots()
        columns = times(out, matrix)
        rows, both = (times(into, each.T).T for each in (matrix, columns))
        weights = [
            Kronecker(parts).diagonal.sqrt() if parts else torch.ones(side)
            for parts, side in zip((metric.into, metric.out), reversed(matrix.shape), strict=True)
        ]
        arrays = [each.double().cpu().numpy() for each in (columns, rows, both, *weights)]
        return cls(*arrays)


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
    raise serves_identity_alone(format)


def serves_identity_alone(format: Format) -> ValueError:
    """Return the error of a format that has no way to serve another metric."""
    return ValueError(
        f"metric: format {type(format).__name__} serves the metric identity alone: it has neither mode_axes nor "
        "analyse_in; take metric=identity"
    )


def analyse_by_modes(format: Format, modes: ModeAxes, weight: Tensor, metric: SiteMetric) -> WhitenedAnalysis:
    """Factorise `W̃ = W ×_k L_k`, whose error is the error in the metric.

    Raises `ValueError` for a moment whose side fits no modes of this format.
    """
    modes, moments = mode_moments(metric, modes)
    pairs = [None if moment is None else moment.root_and_inverse(metric.rtol) for moment in moments]
    tensor = weight.detach().double().reshape(modes.sizes)
    for group, pair in zip(modes.groups, pairs, strict=True):
        tensor = tensor if pair is None else times_axes(tensor, group, pair[0])
    inverses = tuple(None if pair is None else pair[1] for pair in pairs)
    return WhitenedAnalysis(format.analyse(tensor.reshape(weight.shape)), inverses, weight.dtype)


def mode_moments(metric: SiteMetric, modes: ModeAxes) -> tuple[ModeAxes, list[Kronecker | None]]:
    """Return the moment of each mode, None for the identity; their Kronecker product has the trace of the metric's.

    The modes are returned with their axes cut where a moment ends inside an axis.
    """
    modes, placed = _placed(metric, modes)
    parts: list[dict[int, tuple[int, Tensor]]] = [{} for _ in modes.groups]  # by its first axis: how many, and what
    for axes, moment in placed:
        touched = [mode for mode, group in enumerate(modes.groups) if set(group) & set(axes)]
        total = trace(moment)
        scale = total ** (1 / len(touched) - 1) if total > 0 else 1.0
        sizes = [modes.sizes[axis] for axis in axes]
        for mode in touched:
            kept = [k for k, axis in enumerate(axes) if axis in modes.groups[mode]]
            parts[mode][axes[kept[0]]] = len(kept), partial_trace(moment, sizes, kept) * scale
    return modes, [_joined(part, group, modes.sizes) for part, group in zip(parts, modes.groups, strict=True)]


def _joined(parts: dict[int, tuple[int, Tensor]], group: Sequence[int], sizes: Sequence[int]) -> Kronecker | None:
    """Join the parts of one mode; axes without a part have the identity."""
    if not parts:
        return None
    found, axes = list[Tensor](), list(group)
    device = next(iter(parts.values()))[1].device
    while axes:
        ones = torch.ones(sizes[axes[0]], dtype=torch.float64, device=device)
        covered, part = parts.get(axes[0], (1, ones))
        found.append(part)
        axes = axes[covered:]
    return Kronecker(tuple(found))


def _placed(metric: SiteMetric, modes: ModeAxes) -> tuple[ModeAxes, list[tuple[list[int], Tensor]]]:
    """Return the modes, axes cut where a moment ends inside, and each moment with the axes that it is over."""
    pieces: list[list[int]] = [[] for _ in modes.sizes]
    placed: list[tuple[list[tuple[int, int]], Tensor]] = []  # axis and piece
    for first, moments in ((0, metric.out), (modes.num_out, metric.into)):
        axis, left = first, modes.sizes[first]
        for moment in moments:
            axes, side = list[tuple[int, int]](), len(moment)
            while side > 1 or not axes:
                taken = math.gcd(side, left)
                if taken not in (side, left):
                    raise ValueError(
                        f"metric: its moments have the sides {[len(m) for m in moments]}, which fit no modes of sizes "
                        f"{modes.sizes}; cut the modes there, or take metric=activation"
                    )
                axes.append((axis, len(pieces[axis])))
                pieces[axis].append(taken)
                side, left = side // taken, left // taken
                if left == 1 and axis + 1 < len(modes.sizes):
                    axis, left = axis + 1, modes.sizes[axis + 1]
            placed.append((axes, moment))
    cut = [_with_rest(sizes, whole) for sizes, whole in zip(pieces, modes.sizes, strict=True)]
    starts = [0, *itertools.accumulate(len(sizes) for sizes in cut)]
    groups = tuple(tuple(k for axis in group for k in range(starts[axis], starts[axis + 1])) for group in modes.groups)
    sizes = tuple(size for sizes in cut for size in sizes)
    found = [([starts[axis] + piece for axis, piece in axes], moment) for axes, moment in placed]
    return ModeAxes(sizes, groups, starts[modes.num_out]), found


def _with_rest(pieces: list[int], whole: int) -> list[int]:
    """Return `pieces` and what they leave of `whole`."""
    rest = whole // math.prod(pieces)
    return [*pieces, rest] if rest > 1 or not pieces else pieces
