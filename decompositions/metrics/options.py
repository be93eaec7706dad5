"""The options that metrics share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from decompositions.linalg.moments import RTOL
from decompositions.metrics.second_moments import MAX_SIDE

NumSamples = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class MomentOptions:
    """How second moments are measured and inverted.

    Args:
        num_samples: how many samples are read, rounded up to whole batches.
        shrinkage: ρ mixes in the identity of the same trace, `(1 − ρ) G + ρ tr(G)/n · I`.
        rtol: eigenvalues below this share of the largest count as zero, where a format inverts the moment; Tucker-2 of
            whole patches adds this share instead.
        max_side: a layer with more inputs gets a Kronecker product of two moments (see `second_moments`).
    """

    num_samples: NumSamples = 4096
    shrinkage: Annotated[float, Ge(0), Le(1)] = 0.0
    rtol: Annotated[float, Gt(0), Lt(1)] = RTOL
    max_side: Annotated[int, Ge(1)] = MAX_SIDE
