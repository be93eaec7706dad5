"""A weight in a metric that its format cannot serve as it is: factorise in a replacement, measure in the metric itself.

The errors of the replacement say little of those in the metric, and its factors can be worse there than those found
without any metric. So both kinds of factors are made, and each rank gets those with the smaller error in the metric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from decompositions.core.format import Analysis, Factors, frontier_of
from decompositions.core.frontier import Frontier, Rank, as_rank, pareto_frontier
from decompositions.core.metric import SiteMetric
from decompositions.core.site import Site

# How many points of a frontier are factorised and measured; between them the ratio of both errors is interpolated.
NUM_MEASURED = 12
# Errors below this share of the weight's are rounding: no ratio is taken of them.
ROUNDING = 1e-14


@dataclass(frozen=True)
class ReplacedMetricAnalysis:
    """The analyses of a weight in the replacement of `metric` and in the identity."""

    weight: Tensor
    metric: SiteMetric
    replaced: Analysis
    plain: Analysis

    def frontier(self, site: Site, min_rank: int = 1, *, dense: bool = True, multiple_of: int = 1) -> Frontier:
        """Return the points of both analyses with their errors in the metric, measured or interpolated."""
        norm = self.metric.squared_error(self.weight)
        frontiers = [
            frontier_of(each, site, min_rank, dense=dense, multiple_of=multiple_of)
            for each in (self.replaced, self.plain)
        ]
        factorised = [frontier.ranks[:, 0] >= 0 for frontier in frontiers]
        errors = [
            self._errors(analysis, frontier, norm)
            for analysis, frontier in zip((self.replaced, self.plain), frontiers, strict=True)
        ]
        ranks, num_params, macs = (
            torch.cat([getattr(f, name)[kept] for f, kept in zip(frontiers, factorised, strict=True)])
            for name in ("ranks", "num_params", "macs")
        )
        return pareto_frontier(
            ranks,
            num_params,
            macs,
            torch.cat(errors),
            dense_params=frontiers[0].dense_params,
            dense_macs=frontiers[0].dense_macs,
            squared_norm=norm,
            min_rank=min_rank,
            dense=dense,
            unfoldings=frontiers[0].unfoldings,
            largest=[high for _, high in frontiers[0].allowed],
            multiple_of=multiple_of,
        )

    def decompose(self, rank: Rank) -> Factors:
        """Return the factors with the smaller error in the metric."""
        replaced, plain = self.replaced.decompose(rank), self.plain.decompose(rank)
        return plain if self._error(plain) < self._error(replaced) else replaced

    def _errors(self, analysis: Analysis, frontier: Frontier, norm: float) -> Float64[Tensor, " point"]:
        """Return the errors of the factorised points in the metric: measured at some, and between them by the ratio."""
        points = (frontier.ranks[:, 0] >= 0).nonzero()[:, 0]
        if len(points) == 0:
            return frontier.squared_error[points]
        sizes = frontier.num_params[points].double().log1p().numpy()
        measured = np.arange(len(sizes))
        if len(sizes) > NUM_MEASURED:
            measured = np.unique(np.searchsorted(sizes, np.linspace(sizes[0], sizes[-1], NUM_MEASURED)))
        floor = max(ROUNDING * norm, 1e-300)  # a weight of zero has no errors to divide by
        found = frontier.normalized().squared_error[points].numpy() * norm + floor
        real = [self._error(analysis.decompose(as_rank(frontier.ranks[points[k]].tolist()))) + floor for k in measured]
        ratio = np.exp(np.interp(sizes, sizes[measured], np.log(np.array(real) / found[measured])))
        found = found * ratio
        found[measured] = real  # of points of equal size the ratio is one of them's
        return torch.from_numpy(found - floor).clamp(min=0)

    def _error(self, factors: Factors) -> float:
        return self.metric.squared_error(self.weight.detach().double() - factors.to_tensor().double())
