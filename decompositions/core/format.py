"""The role of a format: it writes a weight with fewer numbers, knows the error, and builds the layer that results."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Int64
from torch import Tensor, nn

from decompositions.core.frontier import Frontier, Rank
from decompositions.core.site import Site


@runtime_checkable
class Factors(Protocol):
    """The numbers that are stored instead of a weight, such as two thin matrices."""

    def to_tensor(self) -> Tensor:
        """Multiply the factors out: the approximate weight, in the shape of the dense one."""
        ...

    @property
    def num_params(self) -> int:
        """Count the numbers in all factors; the bias is none of them."""
        ...


@runtime_checkable
class Analysis(Protocol):
    """One factorisation of a weight, from which follow the errors of all ranks and the factors of any one."""

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return the useful ranks of the weight at `site`, none below `min_rank`, with their errors or error bounds.

        Useful is what is smaller than the dense layer, which is the last point. With `dense=False` the dense layer is
        no point, and ranks of any size are useful. All ranks are multiples of `multiple_of` (see `linalg.multiples`); a
        format that does not take this argument serves all but `rank.multiple_of` (see `frontier_of`).
        """
        ...

    def decompose(self, rank: Rank) -> Factors:
        """Return the factors at `rank`.

        Raises `ValueError` that names the allowed ranks ("from 0 to 5") for one that the shape does not allow.
        """
        ...


@runtime_checkable
class Format(Protocol):
    """A way to write weights. Implementations are frozen dataclasses; their fields are the options of a YAML file.

    A format takes every linear layer and every convolution that is not grouped. One whose convolutions become sequences
    of convolutions may say `serves_transposed = True` in its class: it then writes transposed ones too (see
    `core.transposed`). `core.low_rank.TwoFactorFormat` is a
    base for those with two factors, `core.fallback.FormatWithFallback` for those that leave some weights to another.
    """

    def analyse(self, weight: Tensor) -> Analysis:
        """Factorise `weight`, `(out, in)` or `(out, in, *kernel)`, once for all ranks.

        Raises `ValueError` for NaN or infinite weights, here or in the analysis.
        """
        ...

    def count(self, site: Site, ranks: Int64[Tensor, "rank mode"]) -> tuple[Tensor, Tensor]:
        """Count parameters and multiply-adds of the layer at each of `ranks`, bias included: two int64 vectors."""
        ...

    def zeros(self, weight: Tensor, rank: Rank) -> Factors:
        """Return zero factors of the shapes that `Analysis.decompose` gives, to load stored ones into."""
        ...

    def layer(self, dense: nn.Module, factors: Any) -> nn.Module:
        """Build the module that takes the place of `dense` and equals it with the weight `factors.to_tensor()`.

        `factors` are those that this format made. Raises `ValueError` for a layer that is neither linear nor a
        convolution.
        """
        ...


@runtime_checkable
class ChecksSites(Protocol):
    """What a format may have besides: a look at all layers that it is to write, before it writes any."""

    def check_sites(self, sites: Mapping[str, Site]) -> None:
        """Raise `ValueError` for an option that fits none of these layers."""
        ...


def frontier_of(
    analysis: Analysis, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1
) -> Frontier:
    """Return the frontier; raises `ValueError` if ranks are to be multiples and the analysis takes no such argument."""
    if multiple_of == 1:
        return analysis.frontier(site, min_rank, dense=dense)
    if "multiple_of" not in signature(analysis.frontier).parameters:
        raise ValueError(
            f"rank.multiple_of={multiple_of}: the frontier of {type(analysis).__name__} takes no argument multiple_of; "
            "give it one, or set rank.multiple_of=1"
        )
    return analysis.frontier(site, min_rank, dense=dense, multiple_of=multiple_of)
