"""The Fisher information of each input: `G_in = diag(Σ_i F_ij)`, `F = Σ (∂loss/∂W)²` over batches [FWSVD].

[FWSVD] Hsu et al., Language model compression with weighted low-rank factorization, ICLR 2022. Its weights are the
    roots of the summed squared gradients of each row of `Wᵀ`, that is of each input. The sum is over batches, as in
    the authors' code, so that it depends on their size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from decompositions.core.metric import Batches, SiteMetric
from decompositions.core.site import Site
from decompositions.metrics.calibration import run_losses


@dataclass(frozen=True)
class Fisher:
    """Measure squared gradients."""

    def measure(self, network: nn.Module, sites: Mapping[str, Site], batches: Batches) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass with labels and its gradients."""
        sums: dict[str, Tensor] = {}

        def after(num: int) -> None:
            for name, site in sites.items():
                if site.weight.grad is not None:
                    mean = site.weight.grad.detach().double().flatten(1) / num
                    sums[name] = sums.get(name, 0) + mean.square().sum(0)

        run_losses(network, batches, after)
        return {name: SiteMetric(into=(total,)) for name, total in sums.items()}
