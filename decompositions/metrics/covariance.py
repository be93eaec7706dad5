"""The covariance of a layer's inputs: the error of the outputs where the bias makes up for the mean input [AFM23].

    min over Θ and b' of  Σ ‖W x + b − Θ x − b'‖²,     b' = b + (W − Θ) x̄,     G_in = Σ (x − x̄)(x − x̄)ᵀ / samples

A layer without a bias gets none: its metric is `gram`.

[AFM23] Yu & Wu, Compressing transformers: features are low-rank, but weights are not!, AAAI 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor, nn

from decompositions.core.metric import Batches, SiteMetric
from decompositions.core.site import Site
from decompositions.metrics.calibration import patches, run_inputs, watching
from decompositions.metrics.gram import shrunk


@dataclass(frozen=True)
class Covariance:
    """Measure means and covariances; `shrinkage` as in `gram.Gram`."""

    shrinkage: Annotated[float, Ge(0), Le(1)] = 0.0

    def measure(self, network: nn.Module, sites: Mapping[str, Site], batches: Batches) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass over the inputs."""
        squares: dict[str, Tensor] = {}
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}

        def see(name: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
            rows = patches(layer, x)
            squares[name] = squares.get(name, 0) + rows.T @ rows
            sums[name] = sums.get(name, 0) + rows.sum(0)
            counts[name] = counts.get(name, 0) + len(rows)

        with watching(sites, see):
            num = run_inputs(network, batches)
        metrics = {}
        for name, square in squares.items():
            mean = sums[name] / counts[name] if sites[name].num_bias else None
            moment = square if mean is None else square - counts[name] * mean[:, None] * mean
            metrics[name] = SiteMetric(into=(shrunk(moment / num, self.shrinkage),), mean=mean)
        return metrics
