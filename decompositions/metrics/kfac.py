"""Kronecker-factored curvature: inputs on one side, gradients of the outputs on the other [MG15].

    G_in = Σ x xᵀ / samples,     G_out = Σ δ δᵀ / positions,     δ = ∂loss / ∂output

The squared error in this metric is, up to the correlation of inputs and gradients, the second-order change of the loss
(its empirical Fisher matrix). [GFWSVD25] weighs an SVD by two such matrices too, the nearest Kronecker product of the
observed Fisher matrix; these are its K-FAC approximation. A layer that is applied at several positions of a sample has
each of them counted as a sample of its own: products of gradients at two positions are left out.

[MG15] Martens & Grosse, Optimizing neural networks with Kronecker-factored approximate curvature, ICML 2015.
[GFWSVD25] Chekalina et al., Generalized Fisher-weighted SVD, arXiv:2505.17974, 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from decompositions.core.metric import Batches, Reduce, SiteMetric, alone
from decompositions.core.site import Site
from decompositions.metrics.options import MomentOptions
from decompositions.metrics.passes import count_over_processes, run_losses, watching
from decompositions.metrics.second_moments import Collector, shrunk


@dataclass(frozen=True)
class KFAC(MomentOptions):
    """Measure second moments of inputs and of output gradients; the options are those of `options.MomentOptions`."""

    compares_layers: ClassVar[bool] = True

    def measure(
        self,
        network: nn.Module,
        sites: Mapping[str, Site],
        batches: Batches,
        all_reduce: Reduce = alone,
    ) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass with labels and its gradients."""
        out: dict[str, Tensor] = {}
        counts: dict[str, int] = {}

        def see(name: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
            num_out = len(sites[name].weight)
            channel = -1 if isinstance(layer, nn.Linear) else -sites[name].weight.ndim + 1  # the axis of the outputs

            def see_gradient(gradient: Tensor) -> None:
                deltas = gradient.detach().double().movedim(channel, -1).reshape(-1, num_out)
                out[name] = out.get(name, 0) + deltas.T @ deltas
                counts[name] = counts.get(name, 0) + len(deltas)

            if y.requires_grad:  # not under a no_grad of the network's own
                y.register_hook(see_gradient)

        collector = Collector(self.max_side)
        with collector.watching(network, sites), watching(sites, see):
            num = count_over_processes(run_losses(network, batches, self.num_samples), all_reduce)
        sums = collector.joined(all_reduce)
        metrics = {}
        for name in sums:
            if name in out:
                moment = all_reduce(out[name]) / count_over_processes(counts[name], all_reduce)
                into = sums[name].moments(num, self.shrinkage)
                metrics[name] = SiteMetric((shrunk(moment, self.shrinkage),), into, rtol=self.rtol)
        return metrics
