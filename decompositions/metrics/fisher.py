"""The Fisher information of each input: `G_in = diag(mean_i F_ij)`, `F = mean of (∂loss/∂W)²` over batches [FWSVD22].

[FWSVD22] Hsu et al., Language model compression with weighted low-rank factorization, ICLR 2022. Its weights are the
    roots of the summed squared gradients of each row of `Wᵀ`, that is of each input; with the mean in place of the
    sum factors are the same, and errors are in units of the loss, whatever the width of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from decompositions.core.metric import Batches, Reduce, SiteMetric, alone
from decompositions.core.site import Site
from decompositions.metrics.options import NumSamples
from decompositions.metrics.passes import count_over_processes, run_losses


@dataclass(frozen=True)
class Fisher:
    """Measure squared gradients, those of a batch of the mean loss; `num_samples` as in `options.MomentOptions`."""

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
        return {name: SiteMetric(into=(square.mean(0),)) for name, square in squares.items()}


def squared_gradients(
    network: nn.Module,
    sites: Mapping[str, Site],
    batches: Batches,
    num_samples: int,
    all_reduce: Reduce,
) -> dict[str, Tensor]:
    """Return `(∂loss/∂W)²` of each site as a matrix `(out, in·kernel)`, the mean over batches."""
    sums: dict[str, Tensor] = {}
    num_batches = 0

    def after(num: int) -> None:
        nonlocal num_batches
        num_batches += 1
        num = count_over_processes(num, all_reduce)
        for name, site in sites.items():
            if site.weight.grad is not None:  # of the whole batch: a share's square is another number
                mean = all_reduce(site.weight.grad.detach().double()).flatten(1) / num
                sums[name] = sums.get(name, 0) + mean.square()

    run_losses(network, batches, num_samples, after)
    return {name: total / num_batches for name, total in sums.items()}
