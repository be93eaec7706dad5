"""The covariance of a layer's inputs: the error of the outputs where the bias makes up for the mean input [AFM23].

    min over Θ and b' of  Σ ‖W x + b − Θ x − b'‖²,     b' = b + (W − Θ) x̄,     G_in = Σ (x − x̄)(x − x̄)ᵀ / samples

A layer without a bias gets none: its metric is `gram`.

[AFM23] Yu & Wu, Compressing transformers: features are low-rank, but weights are not!, AAAI 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from decompositions.core.metric import Batches, Reduce, SiteMetric, alone
from decompositions.core.site import Site
from decompositions.metrics.options import MomentOptions
from decompositions.metrics.second_moments import input_moments


@dataclass(frozen=True)
class Covariance(MomentOptions):
    """Measure means and covariances; the options are those of `options.MomentOptions`."""

    def measure(
        self,
        network: nn.Module,
        sites: Mapping[str, Site],
        batches: Batches,
        all_reduce: Reduce = alone,
    ) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass over the inputs."""
        sums, num = input_moments(network, sites, batches, self.num_samples, self.max_side, all_reduce)
        metrics = {}
        for name, each in sums.items():
            centred = sites[name].num_bias > 0
            moments = each.moments(num, self.shrinkage, centred=centred)
            metrics[name] = SiteMetric(into=moments, mean=each.mean if centred else None, rtol=self.rtol)
        return metrics
