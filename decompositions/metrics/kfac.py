"""Kronecker-factored curvature: inputs on one side, gradients of the outputs on the other [MG15].

    G_in = Σ x xᵀ / samples,     G_out = Σ δ δᵀ / positions,     δ = ∂loss / ∂output

The squared error in this metric is, up to the correlation of inputs and gradients, the second-order change of the loss
(its empirical Fisher matrix) [GFWSVD25].

[MG15] Martens & Grosse, Optimizing neural networks with Kronecker-factored approximate curvature, ICML 2015.
[GFWSVD25] Chekalina et al., Generalized Fisher-weighted SVD, arXiv:2505.17974, 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor, nn

from decompositions.core.metric import Batches, SiteMetric
from decompositions.core.site import Site
from decompositions.metrics.calibration import patches, run_losses, watching
from decompositions.metrics.gram import shrunk


@dataclass(frozen=True)
class KFAC:
    """Measure second moments of inputs and of the gradients of outputs; `shrinkage` as in `gram.Gram`, of both."""

    shrinkage: Annotated[float, Ge(0), Le(1)] = 0.0

    def measure(self, network: nn.Module, sites: Mapping[str, Site], batches: Batches) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass with labels and its gradients."""
        into: dict[str, Tensor] = {}
        out: dict[str, Tensor] = {}
        counts: dict[str, int] = {}

        def see(name: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
            rows = patches(layer, x)
            into[name] = into.get(name, 0) + rows.T @ rows
            counts[name] = counts.get(name, 0) + len(rows)

            def see_gradient(gradient: Tensor) -> None:
                channels = gradient.ndim - len(sites[name].weight.shape) + 1  # the last axis, or that before the kernel
                deltas = gradient.detach().double().movedim(channels, -1).reshape(-1, len(sites[name].weight))
                out[name] = out.get(name, 0) + deltas.T @ deltas

            y.register_hook(see_gradient)

        with watching(sites, see):
            num = run_losses(network, batches)
        return {
            name: SiteMetric(
                out=(shrunk(out[name] / counts[name], self.shrinkage),),
                into=(shrunk(into[name] / num, self.shrinkage),),
            )
            for name in into
        }
