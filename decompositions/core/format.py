"""The role of a format: how a weight is written with fewer numbers, at which error, and as which layer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Int64
from torch import Tensor, nn

from decompositions.core.frontier import Frontier, Rank
from decompositions.core.site import Site


@runtime_checkable
class Factors(Protocol):
    """The few numbers that stand for a weight."""

    def to_tensor(self) -> Tensor:
        """The weight that the factors stand for, in its dense shape."""
        ...

    @property
    def num_params(self) -> int:
        """How many numbers the factors hold."""
        ...


@runtime_checkable
class Analysis(Protocol):
    """What one factorisation of a weight knows: the errors of all ranks, and the factors of any."""

    def frontier(self, site: Site, min_rank: int = 1) -> Frontier:
        """Every rank worth having for the weight at `site`, with its error or a bound on it."""
        ...

    def decompose(self, rank: Rank) -> Factors:
        """Factors at `rank`; raises `ValueError` for a rank that the shape does not allow."""
        ...


@runtime_checkable
class Format(Protocol):
    """A way to write weights. Implementations are frozen dataclasses; their fields are the options of a YAML file."""

    def refuses(self, layer: nn.Module) -> str | None:
        """Why `layer` must stay dense, because the format cannot represent it exactly; None if it can."""
        ...

    def analyse(self, weight: Tensor) -> Analysis:
        """Factorise `weight` once for all ranks; raises `ValueError` for NaN or infinite weights."""
        ...

    def count(self, site: Site, ranks: Int64[Tensor, "rank mode"]) -> tuple[Tensor, Tensor]:
        """Parameters and multiply-adds of the layer at each of `ranks`, bias included: two int64 vectors."""
        ...

    def zeros(self, weight: Tensor, rank: Rank) -> Factors:
        """Zero factors of the shapes that `Analysis.decompose` returns, for loading stored ones into."""
        ...

    def layer(self, dense: nn.Module, factors: Factors) -> nn.Module:
        """The module that takes the place of `dense`: equal to it with the weight `factors.to_tensor()`."""
        ...
