"""The joint objective in a metric: the L step's gradient is that of the penalty, and the C step lowers it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from decompositions.core.metric import SiteMetric
from decompositions.core.site import survey
from decompositions.rank_search.cost import Cost
from decompositions.search.c_step import RankSearch
from decompositions.svd import SVD
from lightning_modules.training.decay import Exponential
from lightning_modules.training.joint_objective import JointObjective
from lightning_modules.training.penalty_metric import FLOOR, LowRankMoment, PenaltyMetric
from lightning_modules.training.schedule import Phase
from tests.lightning_modules.training.test_joint_objective import small


def moment_of(side: int, seed: int = 0) -> torch.Tensor:
    rows = torch.randn(side // 2 + 1, side, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    return rows.T @ rows * 1e3


METRICS = [
    SiteMetric(into=(moment_of(12),)),
    SiteMetric(out=(moment_of(7, 1),), into=(moment_of(12),)),
    SiteMetric(into=(moment_of(12).diag(),)),
    SiteMetric(into=(moment_of(4), moment_of(3))),
]


@pytest.mark.parametrize("metric", METRICS, ids=["into", "both", "diagonal", "two"])
@pytest.mark.parametrize("max_rank", [2, 100])
def test_the_products_of_the_l_step_are_the_metric_of_the_c_step(metric, max_rank):
    penalty = PenaltyMetric.of(metric, max_rank)
    difference = torch.randn(7, 12, dtype=torch.double)
    assert torch.allclose(penalty.times(difference), penalty.site.times(difference))
    for moment in (*penalty.site.out, *penalty.site.into):
        values = moment if moment.ndim == 1 else torch.linalg.eigvalsh(moment)
        assert float(values.mean()) == pytest.approx(1, rel=0.02)
        assert float(values.min()) >= FLOOR * (1 - 1e-9)
    product = 1.0
    for moment in (*penalty.site.out, *penalty.site.into):
        product *= float(moment.max() if moment.ndim == 1 else torch.linalg.eigvalsh(moment)[-1])
    assert penalty.largest == pytest.approx(product)


def test_a_few_eigenvectors_are_used_where_they_cost_less():
    metric = SiteMetric(into=(moment_of(12),))
    assert isinstance(PenaltyMetric.of(metric, 5).into[0], LowRankMoment)
    assert isinstance(PenaltyMetric.of(metric, 6).into[0], torch.Tensor)


@pytest.mark.parametrize("max_rank", [2, 100])
def test_gradient_equals_autograd_of_the_written_objective(max_rank):
    """`L(W) + μ/2 Σ ‖W − Θ − β/μ‖²_G`, one layer in a metric and one in none, the norm written out in eigenvalues."""
    network, phase, mu = small(), Phase(1, 0.1, Exponential()), 0.37
    weights = {"1": network[1].weight, "3": network[3].weight}
    compressed, multipliers = ({n: torch.randn_like(w) for n, w in weights.items()} for _ in range(2))
    metrics = {"1": PenaltyMetric.of(METRICS[1], max_rank)}
    x, y = torch.randn(5, 12), torch.tensor([0, 1, 2, 1, 0])

    gaps = {n: weights[n] - compressed[n] - multipliers[n] / mu for n in weights}
    site = metrics["1"].site
    weighted = site.out[0].float() @ gaps["1"] @ site.into[0].float()
    penalty = mu / 2 * ((gaps["1"] * weighted).sum() + gaps["3"].square().sum())
    expected = torch.autograd.grad(functional.cross_entropy(network(x), y) + penalty, list(network.parameters()))

    objective = JointObjective(
        network, phase, 1.0, weights=weights, compressed=compressed, multipliers=multipliers, penalty=mu,
        metrics=metrics,
    )  # fmt: skip
    functional.cross_entropy(network(x), y).backward()
    objective.on_fit_start()
    objective.on_before_optimizer_step(phase.optimizer(network))
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


def test_the_rate_is_bounded_by_the_largest_eigenvalue():
    network, phase, mu = small(), Phase(1, 0.1, Exponential()), 20.0
    weights = {"1": network[1].weight}
    metrics = {"1": PenaltyMetric.of(METRICS[0], 100)}
    objective = JointObjective(
        network, phase, 1.0, weights=weights, compressed={"1": weights["1"].detach()}, multipliers=None, penalty=mu,
        metrics=metrics,
    )  # fmt: skip
    assert objective.rate_factor * phase.learning_rate == pytest.approx(1 / (mu * metrics["1"].largest))
    assert metrics["1"].largest > 1.5


@pytest.mark.parametrize("weight", [1e-3, 0.1, 10.0])
def test_the_c_step_never_raises_the_joint_objective_in_the_metric(weight):
    """`λ C(r) + μ/2 ‖A − Θ‖²_G` at the choice is at most that of any other rank with its best factors."""
    network, mu = small(), 0.5
    sites = survey(network, (12,)).sites
    metric = PenaltyMetric.of(METRICS[1], 100).site
    search = RankSearch(sites, SVD(), Cost(weight, "params", relative=False), dense=False, metrics={"1": metric})
    weights = search.weights
    step = search(weights, mu)

    def objective(name: str, rank: int, theta: torch.Tensor) -> float:
        shape = sites[name].weight.shape
        measured = metric if name == "1" else SiteMetric()
        cost = rank * sum(shape) + sites[name].num_bias
        return weight * cost + mu / 2 * measured.squared_error(weights[name].double() - theta.double())

    for name in weights:
        ours = objective(name, step.ranks[name], step.compressed[name])
        for rank in range(1, min(weights[name].shape) + 1):
            other = SVD().analyse(weights[name]).decompose(rank).to_tensor()
            assert ours <= objective(name, rank, other) + 1e-6
