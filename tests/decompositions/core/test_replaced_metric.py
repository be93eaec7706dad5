"""Formats in a metric that they cannot serve as it is: errors are those in the metric, factors no worse than plain."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from decompositions.core.metric import SiteMetric
from decompositions.core.replaced_metric import ReplacedMetricAnalysis
from decompositions.core.whitening import analyse_in
from decompositions.cp import CP
from decompositions.ntt import NTT
from decompositions.spatial_svd import SpatialSVD
from decompositions.tt import TT
from decompositions.tucker import Tucker
from tests.decompositions.weights import site_of

LINEAR, CONV = (48, 96), (32, 16, 3, 3)
CASES = [
    (TT(), LINEAR), (TT(2), CONV), (TT(2, kernel="first"), CONV), (NTT(num_modes=2), LINEAR), (Tucker(), LINEAR),
    (SpatialSVD(), CONV), (CP(sweeps=10), CONV),
]  # fmt: skip


def uneven_moment(side: int, seed: int) -> Tensor:
    """A moment whose eigenvalues span six decades, in directions that no modes know."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(side, side, generator=generator, dtype=torch.double))[0]
    return (basis * torch.logspace(3, -3, side, dtype=torch.double)) @ basis.T


def uneven(shape: tuple[int, ...], sides: str) -> tuple[Tensor, SiteMetric]:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    out = (uneven_moment(shape[0], 1),) if sides == "both" else ()
    return weight, SiteMetric(out=out, into=(uneven_moment(math.prod(shape[1:]), 2),))


@pytest.mark.parametrize(("format", "shape"), CASES, ids=str)
@pytest.mark.parametrize("sides", ["into", "both"])
def test_a_frontier_has_the_errors_in_the_metric_itself(format, shape, sides):
    """Partial traces alone promised a small part of the real error."""
    weight, metric = uneven(shape, sides)
    analysis = analyse_in(format, weight, metric)
    assert isinstance(analysis, ReplacedMetricAnalysis)
    frontier, plain = analysis.frontier(site_of(shape)), format.analyse(weight)
    assert frontier.squared_norm == pytest.approx(metric.squared_error(weight))
    for index in range(0, len(frontier) - 1, max(1, len(frontier) // 8)):
        rank = frontier.rank(index)
        real = metric.squared_error(weight - analysis.decompose(rank).to_tensor())
        assert 0.5 * frontier.squared_error[index] <= real <= 1.6 * frontier.squared_error[index]
        assert real <= metric.squared_error(weight - plain.decompose(rank).to_tensor()) * (1 + 1e-9)


def test_points_without_parameters_and_weights_of_zero_have_errors():
    """Rank 0 costs nothing in a layer without a bias, whose logarithm is no number."""
    weight, metric = uneven(LINEAR, "both")
    site = site_of(LINEAR, bias=False)
    frontier = analyse_in(Tucker(), weight, metric).frontier(site, min_rank=0)
    assert frontier.squared_error[0] == pytest.approx(metric.squared_error(weight))
    nothing = analyse_in(Tucker(), torch.zeros(LINEAR), metric).frontier(site)
    assert bool((nothing.squared_error == 0).all())


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_errors_do_not_depend_on_the_unit_of_the_metric(scale):
    weight, metric = uneven(LINEAR, "into")
    scaled = SiteMetric(into=(metric.into[0] * scale,))
    frontiers = [analyse_in(TT(), weight, each).frontier(site_of(LINEAR)) for each in (metric, scaled)]
    assert frontiers[0].ranks.tolist() == frontiers[1].ranks.tolist()
    assert torch.allclose(frontiers[0].squared_error * scale, frontiers[1].squared_error, rtol=1e-6, atol=0)


def test_one_weight_for_all_inputs_is_a_product_over_any_modes():
    weight = torch.randn(LINEAR)
    analysis = analyse_in(TT(), weight, SiteMetric(into=(torch.tensor(3.0).double().expand(LINEAR[1]),)))
    assert not isinstance(analysis, ReplacedMetricAnalysis)
