"""The second moment of a layer's inputs, `G_in = Σ x xᵀ / samples`: the error of the outputs on calibration data.

For a convolution `x` are its patches. The squared error in this metric is `‖(W − Θ) X‖² / samples` [DRONE21, ZZHS16].

[DRONE21] Chen et al., DRONE: data-aware low-rank compression for large NLP models, NeurIPS 2021.
[ZZHS16] Zhang, Zou, He & Sun, Accelerating very deep convolutional networks, IEEE TPAMI 38(10), 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from decompositions.core.metric import Batches, SiteMetric
from decompositions.core.site import Site
from decompositions.linalg.moments import RTOL
from decompositions.metrics.second_moments import MAX_SIDE, input_moments

NumSamples = Annotated[int, Ge(1)]
Shrinkage = Annotated[float, Ge(0), Le(1)]
Rtol = Annotated[float, Gt(0), Lt(1)]
MaxSide = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Gram:
    """Measure second moments.

    Args:
        num_samples: how many samples are read, rounded up to whole batches.
        shrinkage: ρ mixes in the identity of the same trace, `(1 − ρ) G + ρ tr(G)/n · I`.
        rtol: eigenvalues below this share of the largest count as zero, where a format inverts the moment; Tucker-2 of
            whole patches adds this share instead.
        max_side: a layer with more inputs gets a Kronecker product of two moments (see `second_moments`).
    """

    num_samples: NumSamples = 4096
    shrinkage: Shrinkage = 0.0
    rtol: Rtol = RTOL
    max_side: MaxSide = MAX_SIDE

    def measure(
        self,
        network: nn.Module,
        sites: Mapping[str, Site],
        batches: Batches,
        all_reduce: Callable[[Tensor], Tensor] = lambda sums: sums,
    ) -> dict[str, SiteMetric]:
        """Return the metric of each site, from one pass over the inputs."""
        sums, num = input_moments(network, sites, batches, self.num_samples, self.max_side, all_reduce)
        return {name: SiteMetric(into=each.moments(num, self.shrinkage), rtol=self.rtol) for name, each in sums.items()}
