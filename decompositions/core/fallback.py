"""A base for formats that write some weights themselves and leave the others to another format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Int64
from torch import Tensor, nn

from decompositions.core.format import Analysis, Factors, Format
from decompositions.core.frontier import Rank
from decompositions.core.metric import SiteMetric
from decompositions.core.site import Site
from decompositions.core.whitening import ModeFormat, analyse_by_modes, analyse_in, serves_identity_alone
from decompositions.layers.geometry import LAYER_TYPES, wrong_kind


class FormatWithFallback(ABC):
    """Base of a format that hands weights of some shapes to another format, for example matrices to the SVD.

    A subclass names the other format in `fallback` and writes all other weights with `_analyse`, `_count`, `_zeros`
    and `_layer`, which do what the methods of `Format` without the underscore promise.
    """

    @abstractmethod
    def fallback(self, weight: Tensor) -> Format | None:
        """Return the format that writes `weight` instead of this one, or None. Only the shape may decide."""

    def analyse(self, weight: Tensor) -> Analysis:
        """Factorise `weight` once for all ranks; raises `ValueError` for NaN or infinite weights."""
        other = self.fallback(weight)
        return self._analyse(weight) if other is None else other.analyse(weight)

    def analyse_in(self, weight: Tensor, metric: SiteMetric) -> Analysis:
        """Factorise `weight` in a metric."""
        other = self.fallback(weight)
        return self._analyse_in(weight, metric) if other is None else analyse_in(other, weight, metric)

    def count(self, site: Site, ranks: Int64[Tensor, "rank mode"]) -> tuple[Tensor, Tensor]:
        """Count parameters and multiply-adds of the layer at each of `ranks`, bias included."""
        other = self.fallback(site.weight)
        return self._count(site, ranks) if other is None else other.count(site, ranks)

    def zeros(self, weight: Tensor, rank: Rank) -> Factors:
        """Return zero factors of the shapes that `Analysis.decompose` gives at `rank`."""
        other = self.fallback(weight)
        return self._zeros(weight, rank) if other is None else other.zeros(weight, rank)

    def layer(self, dense: nn.Module, factors: Any) -> nn.Module:
        """Build the module that takes the place of `dense`; raises `ValueError` for kinds that no format replaces."""
        if not isinstance(dense, LAYER_TYPES):
            raise ValueError(wrong_kind(dense))
        other = self.fallback(dense.weight)
        return self._layer(dense, factors) if other is None else other.layer(dense, factors)

    @abstractmethod
    def _analyse(self, weight: Tensor) -> Analysis: ...

    def _analyse_in(self, weight: Tensor, metric: SiteMetric) -> Analysis:
        if not isinstance(self, ModeFormat):
            raise serves_identity_alone(self)
        return analyse_by_modes(self, self.mode_axes(weight), weight, metric)

    @abstractmethod
    def _count(self, site: Site, ranks: Int64[Tensor, "rank mode"]) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _zeros(self, weight: Tensor, rank: Rank) -> Factors: ...

    @abstractmethod
    def _layer(self, dense: nn.Module, factors: Any) -> nn.Module: ...
