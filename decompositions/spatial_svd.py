"""Truncated SVD of a convolution with its first kernel axis among the rows: scheme 2 of [IC20], "spatial" [JVZ14].

    (out · k_h) × (in · k_w)   →   a convolution with a 1 × k_w kernel, then one with a k_h × 1 kernel

In three dimensions the first axis is time: a spatial convolution, then a temporal one. A linear layer has no kernel;
for it this is the SVD of scheme 1.

[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
[JVZ14] Jaderberg, Vedaldi & Zisserman, Speeding up convolutional neural networks with low rank expansions, BMVC 2014.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int64
from torch import Tensor, nn

from decompositions.core.frontier import Rank
from decompositions.core.low_rank import TwoFactors, count, two_factor_layer, zeros
from decompositions.core.site import Site
from decompositions.svd import SVDAnalysis


@dataclass(frozen=True)
class SpatialSVD:
    """Write a convolution as two, each over a part of its kernel axes."""

    def refuses(self, layer: nn.Module) -> str | None:
        """Nothing."""
        return None

    def analyse(self, weight: Tensor) -> SVDAnalysis:
        """One eigenvalue problem, of the smaller side."""
        return SVDAnalysis.of(weight, _row_axes(weight))

    def count(self, site: Site, ranks: Int64[Tensor, "rank 1"]) -> tuple[Tensor, Tensor]:
        """`r (out k_h + in k_w)` parameters and the bias; the first layer has the input's size along k_h."""
        return count(site, ranks, _row_axes(site.weight))

    def zeros(self, weight: Tensor, rank: Rank) -> TwoFactors:
        """Zero factors of rank `rank`."""
        return zeros(weight, rank, _row_axes(weight))

    def layer(self, dense: nn.Module, factors: TwoFactors) -> nn.Module:
        """Two layers in a row, see `two_factor`."""
        return two_factor_layer(dense, factors)


def _row_axes(weight: Tensor) -> int:
    """One kernel axis goes to the rows, if there is one."""
    return min(1, weight.ndim - 2)
