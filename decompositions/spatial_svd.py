"""Truncated SVD of a convolution with its first kernel axis among the rows: scheme 2 of [IC20], "spatial" [JVZ14].

    (out · k_h) × (in · k_w)   →   a convolution with a 1 × k_w kernel, then one with a k_h × 1 kernel

In three dimensions the first axis is time: a spatial convolution, then a temporal one. A linear layer has no kernel;
for it this is the SVD of scheme 1.

[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
[JVZ14] Jaderberg, Vedaldi & Zisserman, Speeding up convolutional neural networks with low rank expansions, BMVC 2014.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from decompositions.core.low_rank import TwoFactorFormat
from decompositions.svd import SVDAnalysis


@dataclass(frozen=True)
class SpatialSVD(TwoFactorFormat):
    """Write a convolution as two, each over a part of its kernel axes."""

    def analyse(self, weight: Tensor) -> SVDAnalysis:
        """Solve one eigenvalue problem, of the smaller side."""
        return SVDAnalysis.of(weight, self.num_row_axes(weight))

    def num_row_axes(self, weight: Tensor) -> int:
        """Return 1, for the first kernel axis, or 0 for a linear layer, which has none."""
        return min(1, weight.ndim - 2)
