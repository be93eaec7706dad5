"""Every rank rule of conf/rank against brute force over all combinations of small frontiers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import yaml
from hydra.utils import instantiate

from decompositions.core.frontier import Frontier, Unfolding, pareto_frontier
from decompositions.rank_search.accuracy import Accuracy
from decompositions.rank_search.budget import Budget
from decompositions.rank_search.cost import Cost
from decompositions.rank_search.energy import Energy
from decompositions.rank_search.fixed import Fixed
from decompositions.rank_search.latency import Latency
from decompositions.rank_search.rule import RankProblem
from tests.conftest import ROOT
from tests.decompositions.rank_search.rank_problems import (
    combinations,
    cost,
    error,
    measured,
    points_of,
    problem_of,
    random_frontier,
)

FILES = sorted((ROOT / "conf" / "rank").glob("*.yaml"))


def with_spectra(frontier: Frontier, seed: int) -> Frontier:
    """Give every mode a spectrum, for the rules that read it."""
    energy = torch.rand(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).sort(descending=True)
    return replace(frontier, unfoldings=tuple(Unfolding(energy.values, (6, 9)) for _ in frontier.allowed))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_rule_file_chooses_a_point_of_every_layer_and_says_why(path):
    rule = instantiate(yaml.safe_load(path.read_text()), _convert_="all")
    frontiers = {f"layer{i}": with_spectra(random_frontier(i, max_rank=10), i) for i in range(2)}
    problem = measured(RankProblem(frontiers, penalty=0.7))
    choice = rule(problem)
    assert set(choice.ranks) == set(problem.frontiers)
    for name, (low, high) in ((n, f.allowed[0]) for n, f in problem.frontiers.items()):
        assert choice.ranks[name] is None or low <= choice.ranks[name] <= high
    assert choice.reason
    assert rule(problem) == choice  # a pure function


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("of", ["params", "macs"])
@pytest.mark.parametrize("weight", [0.0, 0.01, 0.3, 3.0, 100.0])
@pytest.mark.parametrize("relative", [True, False])
def test_cost_is_the_least_of_all_combinations(seed, of, weight, relative):
    problem = problem_of(seed)
    dense = cost(problem, {n: len(f) - 1 for n, f in problem.frontiers.items()}, of)
    assert problem.dense_cost(of) == dense

    def objective(points):
        unit = dense if relative else 1.0
        return weight * cost(problem, points, of) / unit + problem.penalty / 2 * error(problem, points)

    chosen = points_of(problem, Cost(weight, of, relative)(problem))
    assert objective(chosen) == pytest.approx(min(map(objective, combinations(problem))), rel=1e-12)


def test_cost_with_a_linear_cost_is_a_count_of_singular_values():
    """`#{i : μ/2 σ_i² > λ c}`, the closed form for one layer, away from the dense point."""
    energy = torch.tensor([9.0, 4.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    errors = torch.cat([energy.flip(0).cumsum(0).flip(0), energy.new_zeros(1)])
    ranks = torch.arange(6)
    frontier = pareto_frontier(
        ranks[:, None], ranks * 7, ranks * 7, errors, dense_params=1000, dense_macs=1000, squared_norm=14.6, min_rank=0
    )
    for weight in (0.01, 0.05, 0.2, 0.5, 1.0):
        choice = Cost(weight, "macs", relative=False)(RankProblem({"a": frontier}, penalty=2.0))
        assert choice.ranks["a"] == int((energy > weight * 7).sum())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share", [0.4, 0.6, 0.85, 1.0])
@pytest.mark.parametrize("of", ["params", "macs"])
def test_budget_is_met_and_within_one_step_of_the_optimum(seed, share, of):
    problem = problem_of(seed)
    allowed = share * problem.dense_cost(of)
    feasible = [p for p in combinations(problem) if cost(problem, p, of) <= allowed + 1e-9]
    if not feasible:
        with pytest.raises(ValueError, match="raise the share"):
            Budget(share, of)(problem)
        return
    chosen = points_of(problem, Budget(share, of)(problem))
    assert cost(problem, chosen, of) <= allowed + 1e-9
    best = min(error(problem, p) for p in feasible)
    largest_step = max(float(-f.squared_error.diff().min()) for f in problem.frontiers.values())
    assert error(problem, chosen) <= best + largest_step
    if share == 1.0:
        assert error(problem, chosen) == 0


def test_budget_error_names_a_share_that_works():
    problem = problem_of(3)
    with pytest.raises(ValueError, match=r"raise the share to (0\.\d+)") as caught:
        Budget(0.01)(problem)
    share = float(str(caught.value).split("raise the share to ")[1].split()[0])
    Budget(share)(problem)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999, 1.0])
def test_energy_takes_the_cheapest_sufficient_point(keep):
    problem = problem_of(4)
    for name, index in points_of(problem, Energy(keep)(problem)).items():
        frontier = problem.frontiers[name]
        sufficient = [
            i for i in range(len(frontier)) if frontier.squared_error[i] <= (1 - keep) * frontier.squared_norm
        ]
        assert index == sufficient[0]


def test_energy_is_the_same_for_normalized_frontiers():
    problem = problem_of(5)
    normal = RankProblem({n: f.normalized() for n, f in problem.frontiers.items()}, 1.0)
    assert Energy(0.8)(problem).ranks == Energy(0.8)(normal).ranks


def test_fixed_follows_the_first_pattern_and_leaves_the_rest_dense():
    problem = problem_of(6)
    choice = Fixed({"layer0": 2, "layer[01]": 1})(problem)
    assert choice.ranks["layer0"] == 2
    assert choice.ranks["layer1"] == 1
    assert choice.ranks["layer2"] is None
    assert "layer2" in choice.reason
    with pytest.raises(ValueError, match=r"'conv\*' matches none of layer0"):
        Fixed({"conv*": 2})(problem)


def test_an_int_is_the_rank_of_every_mode_up_to_its_size():
    frontier = replace(random_frontier(1), allowed=((1, 6), (1, 3)))
    problem = RankProblem({"a": frontier}, 1.0)
    choice = Fixed(5)(problem)
    assert (choice.ranks, choice.reason) == ({"a": (5, 3)}, "ranks as configured")
    choice = Fixed(7)(problem)
    assert (choice.ranks, choice.reason) == (
        {"a": (6, 3)}, "ranks as configured; no larger one is possible: a to (6, 3)",
    )  # fmt: skip
    assert Fixed([5, 2])(problem).ranks == {"a": (5, 2)}
    for wrong in ([7, 3], [5, 4], [5]):
        with pytest.raises(ValueError, match="from 1 to 6 and 1 to 3"):
            Fixed(wrong)(problem)


@pytest.mark.parametrize("rank", [0, [7], [2, 2], []])
def test_impossible_fixed_ranks_are_refused_with_the_layer_and_the_limits(rank):
    with pytest.raises(ValueError, match="layer layer0 takes a rank from 1 to 6, got"):
        Fixed(rank)(problem_of(6))
    with pytest.raises(ValueError, match="at least one pattern"):
        Fixed({})(problem_of(6))


def test_one_rank_for_all_layers_is_at_most_that_of_each():
    """A head of ten classes has no rank 16: it takes ten, as a mode that is too small does, and the reason says so."""
    frontiers = {"body": replace(random_frontier(1), allowed=((1, 64),)), "head": random_frontier(2)}
    choice = Fixed(16)(RankProblem(frontiers, 1.0))
    assert choice.ranks == {"body": 16, "head": frontiers["head"].allowed[0][1]}
    assert choice.reason == f"ranks as configured; no larger one is possible: head to {choice.ranks['head']}"


def test_min_rank_is_a_lower_bound():
    energy = torch.tensor([4.0, 1.0, 0.1], dtype=torch.float64)
    errors = torch.cat([energy.flip(0).cumsum(0).flip(0), energy.new_zeros(1)])
    ranks = torch.arange(4)
    for min_rank in (0, 1, 2):
        frontier = pareto_frontier(
            ranks[:, None], ranks, ranks, errors, dense_params=9, dense_macs=9, squared_norm=5.1, min_rank=min_rank
        )
        assert frontier.rank(0) == min_rank
        assert Cost(1e6, "params")(RankProblem({"a": frontier}, 1.0)).ranks["a"] == min_rank


@pytest.mark.parametrize(
    ("rule", "ranks"),
    [
        (Budget(share=1.0), 5), (Latency(share=1.0), 5), (Energy(keep=1.0), 6), (Cost(weight=0.0), 6),
        (Accuracy(epsilon=0.0), 6), (Accuracy(epsilon=100.0), 1),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("seed", range(5))
def test_where_layers_stay_factorised(rule, ranks, seed):
    """Rank 6 is larger than the dense layer: `budget` and `latency` never take it, others if nothing else will do."""
    problem = measured(problem_of(seed, dense=False))
    choice = rule(problem)
    assert set(choice.ranks.values()) == {ranks}
    if rule == Budget(share=1.0):
        assert cost(problem, points_of(problem, choice), "params") <= problem.dense_cost("params")
