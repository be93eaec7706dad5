"""One weight a layer: `G_in = s I`, s the mean squared gradient of the layer's weight.

It changes no factors, and tells rank rules how much an error in each layer costs, which the layer's own squared norm
does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from decompositions.core.metric import Batches, Reduce, SiteMetric, alone
from decompositions.core.site import Site
from decompositions.metrics.fisher import squared_gradients
from decompositions.metrics.options import NumSamples


@dataclass(frozen=True)
class Layer:
    """Measure the mean squared gradient of each layer; `num_samples` as in `options.MomentOptions`."""

    compares_layers: ClassVar[bool] = True
    num_samples: NumSamples = 4096

    def measure(
        self,
        network: nn.Module,
        sites: Mapping[str, Site],
        batches: Batches,
        all_reduce: Reduce = alone,
    ) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass with labels and its gradients."""
        squares = squared_gradients(network, sites, batches, self.num_samples, all_reduce)
        return {name: SiteMetric(into=(square.mean().expand(square.shape[1]),)) for name, square in squares.items()}
