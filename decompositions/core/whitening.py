"""Factorise a weight in a metric: transform it so that errors count alike, factorise, map the factors back.

A format whose factors each belong to one mode of the weight needs nothing new where G is a Kronecker product over these
modes, `G = ⊗ G_k`: it factorises `W̃ = W ×_k L_k` with `G_k = L_k L_k`, the error of `W̃` is the error in the metric,
and each factor is mapped back by the pseudo-inverse `L_k⁺`. So frontiers that are exact stay exact. Any other G is
replaced by such a product (see `core.mode_axes`), and the errors are measured in G (see `core.replaced_metric`).

A format whose factors are parts of the weight (CUR), or that can do better than partial traces, has a way of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from decompositions.core.format import Analysis, Factors, Format, frontier_of
from decompositions.core.frontier import Frontier, Rank
from decompositions.core.metric import SiteMetric
from decompositions.core.mode_axes import ModeAxes, is_product, mode_moments
from decompositions.core.replaced_metric import ReplacedMetricAnalysis
from decompositions.core.site import Site
from decompositions.linalg.moments import Kronecker, apply, times_axes


@runtime_checkable
class ModeFactors(Factors, Protocol):
    """Factors of which each mode of the weight has one of its own."""

    def mode_product(self, maps: Sequence[Kronecker | None], dtype: torch.dtype) -> ModeFactors:
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

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return the frontier with the errors in the metric."""
        return frontier_of(self.inner, site, min_rank, dense=dense, multiple_of=multiple_of)

    def decompose(self, rank: Rank) -> Factors:
        """Return the factors of the weight itself."""
        factors = self.inner.decompose(rank)
        assert isinstance(factors, ModeFactors)
        return factors.mode_product(self.inverse_roots, self.dtype)


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
        columns = apply(out, matrix)
        rows, both = (apply(into, each.T).T for each in (matrix, columns))
        weights = [
            Kronecker(parts).diagonal.clamp(min=0).sqrt() if parts else torch.ones(side)
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
    metric.require_fits(weight)
    metric = metric.to(weight.device)
    if isinstance(format, MetricFormat) and _knows(format):
        return format.analyse_in(weight, metric)
    if isinstance(format, ModeFormat):
        return analyse_by_modes(format, format.mode_axes(weight), weight, metric)
    raise serves_identity_alone(format)


def _knows(format: Format) -> bool:
    """Return False where a subclass changes `analyse` and its base's `analyse_in` would pass it over."""
    first = next(c for c in type(format).__mro__ if "analyse" in vars(c) or "analyse_in" in vars(c))
    return "analyse_in" in vars(first)


def serves_identity_alone(format: Format) -> ValueError:
    """Return the error of a format that has no way to serve another metric."""
    return ValueError(
        f"metric: format {type(format).__name__} serves the metric identity alone: it has neither mode_axes nor "
        "analyse_in; take metric=identity and target=weights"
    )


def analyse_by_modes(format: Format, modes: ModeAxes, weight: Tensor, metric: SiteMetric) -> Analysis:
    """Factorise `W̃ = W ×_k L_k`, whose error is the error in the metric, or in what replaces it for these modes."""
    exact = is_product(metric, modes)
    modes, moments = mode_moments(metric, modes)
    pairs = [None if moment is None else moment.root_and_inverse(metric.rtol) for moment in moments]
    tensor = weight.detach().double().reshape(modes.sizes)
    for group, pair in zip(modes.groups, pairs, strict=True):
        tensor = tensor if pair is None else times_axes(tensor, group, pair[0])
    inverses = tuple(None if pair is None else pair[1] for pair in pairs)
    analysis = WhitenedAnalysis(format.analyse(tensor.reshape(weight.shape)), inverses, weight.dtype)
    return analysis if exact else ReplacedMetricAnalysis(weight, metric, analysis, format.analyse(weight))
