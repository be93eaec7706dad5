"""The second moment of a layer's inputs, `G_in = Σ x xᵀ / samples`: the error of the outputs on calibration data.

For a convolution `x` are its patches. The squared error in this metric is `‖(W − Θ) X‖² / samples` [DRONE21, ZZHS16].

[DRONE21] Chen et al., DRONE: data-aware low-rank compression for large NLP models, NeurIPS 2021.
[ZZHS16] Zhang, Zou, He & Sun, Accelerating very deep convolutional networks, IEEE TPAMI 38(10), 2016.
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
class Gram(MomentOptions):
    """Measure second moments; the options are those of `options.MomentOptions`."""

    def measure(
        self,
        network: nn.Module,
        sites: Mapping[str, Site],
        batches: Batches,
        all_reduce: Reduce = alone,
    ) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass over the inputs."""
        sums, num = input_moments(network, sites, batches, self.num_samples, self.max_side, all_reduce)
        return {name: SiteMetric(into=each.moments(num, self.shrinkage), rtol=self.rtol) for name, each in sums.items()}
