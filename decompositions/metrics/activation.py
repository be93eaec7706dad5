"""The mean size of each input, as a diagonal: `G_in = diag((mean |x_j|)^(2α))` [ASVD23].

[ASVD23] Yuan et al., ASVD: activation-aware singular value decomposition for compressing large language models,
    arXiv:2312.05821, 2023; its α is 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn

from decompositions.core.metric import Batches, SiteMetric
from decompositions.core.site import Site
from decompositions.metrics.calibration import count_over_processes, run_inputs, watching
from decompositions.metrics.gram import NumSamples
from decompositions.metrics.patches import patches_in_parts


@dataclass(frozen=True)
class Activation:
    """Measure mean absolute inputs, to the power `alpha`; `num_samples` as in `gram.Gram`."""

    num_samples: NumSamples = 4096
    alpha: Annotated[float, Gt(0)] = 0.5

    def measure(
        self,
        network: nn.Module,
        sites: Mapping[str, Site],
        batches: Batches,
        all_reduce: Callable[[Tensor], Tensor] = lambda sums: sums,
    ) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass over the inputs."""
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}

        def see(name: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
            for rows in patches_in_parts(layer, x, y):
                sums[name] = sums.get(name, 0) + rows.abs().sum(0)
                counts[name] = counts.get(name, 0) + len(rows)

        with watching(sites, see):
            run_inputs(network, batches, self.num_samples)
        means = {name: all_reduce(sums[name]) / count_over_processes(counts[name], all_reduce) for name in sums}
        return {name: SiteMetric(into=(mean.pow(2 * self.alpha),)) for name, mean in means.items()}
