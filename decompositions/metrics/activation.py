"""The mean size of each input, as a diagonal: `G_in = diag((mean |x_j|)^(2α))` [ASVD23].

[ASVD23] Yuan et al., ASVD: activation-aware singular value decomposition for compressing large language models,
    arXiv:2312.05821, 2023; its α is 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from decompositions.core.metric import Batches, Reduce, SiteMetric, alone
from decompositions.core.site import Site
from decompositions.metrics.input_means import input_means
from decompositions.metrics.options import NumSamples


@dataclass(frozen=True)
class Activation:
    """Measure mean absolute inputs, to the power `alpha`; `num_samples` as in `options.MomentOptions`."""

    num_samples: NumSamples = 4096
    alpha: Annotated[float, Gt(0)] = 0.5

    def measure(
        self,
        network: nn.Module,
        sites: Mapping[str, Site],
        batches: Batches,
        all_reduce: Reduce = alone,
    ) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass over the inputs."""
        means = input_means(network, sites, batches, self.num_samples, all_reduce, torch.abs)
        return {name: SiteMetric(into=(mean.pow(2 * self.alpha),)) for name, mean in means.items()}
