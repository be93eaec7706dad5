"""The mean size of each input, as a diagonal: `G_in = diag((mean |x_j|)^(2α))` [ASVD23].

[ASVD23] Yuan et al., ASVD: activation-aware singular value decomposition for compressing large language models,
    arXiv:2312.05821, 2023; its α is 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn

from decompositions.core.metric import Batches, SiteMetric
from decompositions.core.site import Site
from decompositions.metrics.calibration import patches, run_inputs, watching


@dataclass(frozen=True)
class Activation:
    """Measure mean absolute inputs, to the power `alpha`."""

    alpha: Annotated[float, Gt(0)] = 0.5

    def measure(self, network: nn.Module, sites: Mapping[str, Site], batches: Batches) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass over the inputs."""
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}

        def see(name: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
            rows = patches(layer, x)
            sums[name] = sums.get(name, 0) + rows.abs().sum(0)
            counts[name] = counts.get(name, 0) + len(rows)

        with watching(sites, see):
            run_inputs(network, batches)
        return {name: SiteMetric(into=((sums[name] / counts[name]).pow(2 * self.alpha),)) for name in sums}
