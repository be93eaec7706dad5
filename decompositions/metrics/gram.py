"""The second moment of a layer's inputs, `G_in = Σ x xᵀ / samples`: the error of the outputs on calibration data.

For a convolution `x` are its patches. The squared error in this metric is `‖(W − Θ) X‖² / samples` [DRONE21, ZZHS16].

[DRONE21] Chen et al., DRONE: data-aware low-rank compression for large NLP models, NeurIPS 2021.
[ZZHS16] Zhang, Zou, He & Sun, Accelerating very deep convolutional networks, IEEE TPAMI 38(10), 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from decompositions.core.metric import Batches, SiteMetric
from decompositions.core.site import Site
from decompositions.metrics.calibration import patches, run_inputs, watching


@dataclass(frozen=True)
class Gram:
    """Measure second moments; `shrinkage` ρ mixes in the identity of the same trace: `(1 − ρ) G + ρ tr(G)/n · I`."""

    shrinkage: Annotated[float, Ge(0), Le(1)] = 0.0

    def measure(self, network: nn.Module, sites: Mapping[str, Site], batches: Batches) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass over the inputs."""
        sums: dict[str, Tensor] = {}

        def see(name: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
            rows = patches(layer, x)
            sums[name] = sums.get(name, 0) + rows.T @ rows

        with watching(sites, see):
            num = run_inputs(network, batches)
        return {name: SiteMetric(into=(shrunk(total / num, self.shrinkage),)) for name, total in sums.items()}


def shrunk(moment: Tensor, share: float) -> Tensor:
    """Return `(1 − ρ) G + ρ tr(G)/n · I`."""
    if share == 0:
        return moment
    identity = torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    return (1 - share) * moment + share * moment.trace() / len(moment) * identity
