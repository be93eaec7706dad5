"""Every rank rule of conf/rank against brute force over all combinations of small frontiers."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import instantiate

from decompositions.frontier import Frontier, Unfolding, pareto_frontier
from decompositions.rank_search.accuracy import Accuracy
from decompositions.rank_search.budget import Budget
from decompositions.rank_search.cost import Cost
from decompositions.rank_search.energy import Energy
from decompositions.rank_search.fixed import Fixed
from decompositions.rank_search.knapsack import cheapest, path
from decompositions.rank_search.latency import Latency
from decompositions.rank_search.rule import RankProblem

FILES = sorted((Path(__file__).parents[2] / "conf" / "rank").glob("*.yaml"))


def with_spectra(frontier: Frontier, seed: int) -> Frontier:
    """Give every mode a spectrum, for the rules that read it."""
    energy = torch.rand(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).sort(descending=True)
    return replace(frontier, unfoldings=tuple(Unfolding(energy.values, (6, 9)) for _ in frontier.allowed))


def random_frontier(seed: int, max_rank: int = 6) -> Frontier:
    generator = torch.Generator().manual_seed(seed)
    energy = torch.rand(max_rank, generator=generator, dtype=torch.float64).pow(3).sort(descending=True).values
    errors = torch.cat([energy.flip(0).cumsum(0).flip(0), energy.new_zeros(1)])
    unit = int(torch.randint(3, 30, (1,), generator=generator))
    positions = int(torch.randint(1, 9, (1,), generator=generator))
    ranks = torch.arange(max_rank + 1)
    dense = unit * max_rank - unit // 2
    return pareto_frontier(
        ranks[:, None],
        ranks * unit,
        ranks * unit * positions,
        errors,
        dense_params=dense,
        dense_macs=dense * positions,
        squared_norm=float(energy.sum()),
    )


def problem_of(seed: int, num_layers: int = 3, penalty: float = 0.7) -> RankProblem:
    frontiers = {f"layer{i}": random_frontier(10 * seed + i) for i in range(num_layers)}
    return RankProblem(frontiers, penalty, rest_params=17, rest_macs=50)


def measured(problem: RankProblem) -> RankProblem:
    """Accuracy falls with the total error, time grows with the rank: as if measured."""

    def error_at(name, rank):
        frontier = problem.frontiers[name]
        return next(float(e) for i, e in enumerate(frontier.squared_error) if frontier.rank(i) == rank)

    return replace(
        problem,
        accuracy_percent=lambda ranks: 90 - 10 * sum(error_at(name, rank) for name, rank in ranks.items()),
        reference_percent=lambda: 90.0,
        latency_ms=lambda name, ranks, batch: [batch * (20.0 if rank is None else 3 + rank**1.5) for rank in ranks],
    )


def combinations(problem: RankProblem):
    return [
        dict(zip(problem.frontiers, indices, strict=True))
        for indices in itertools.product(*(range(len(f)) for f in problem.frontiers.values()))
    ]


def cost(problem: RankProblem, points: dict[str, int], of: str) -> float:
    return problem.rest(of) + sum(float(problem.frontiers[n].cost(of)[i]) for n, i in points.items())


def error(problem: RankProblem, points: dict[str, int]) -> float:
    return sum(float(problem.frontiers[n].squared_error[i]) for n, i in points.items())


def points_of(problem: RankProblem, choice) -> dict[str, int]:
    """Where on the frontiers the chosen ranks lie."""
    return {n: next(i for i in range(len(f)) if f.rank(i) == choice.ranks[n]) for n, f in problem.frontiers.items()}


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
    assert Fixed(5)(problem).ranks == {"a": (5, 3)}
    assert Fixed([5, 2])(problem).ranks == {"a": (5, 2)}
    for wrong in (7, [5, 4], [5]):
        with pytest.raises(ValueError, match="from 1 to 6 and 1 to 3"):
            Fixed(wrong)(problem)


@pytest.mark.parametrize("rank", [0, 7, [2, 2], []])
def test_impossible_fixed_ranks_are_refused_with_the_layer_and_the_limits(rank):
    with pytest.raises(ValueError, match="layer layer0 takes a rank from 1 to 6, got"):
        Fixed(rank)(problem_of(6))
    with pytest.raises(ValueError, match="at least one pattern"):
        Fixed({})(problem_of(6))


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


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 3.0, 8.0, 100.0])
@pytest.mark.parametrize("of", ["params", "macs"])
def test_accuracy_takes_the_first_network_of_the_path_that_is_accurate_enough(seed, epsilon, of):
    """Against walking the whole path; and no more probes than bisection needs."""
    problem = measured(problem_of(seed))
    probed = []

    def accuracy_percent(ranks):
        probed.append(ranks)
        return problem.accuracy_percent(ranks)

    choice = Accuracy(epsilon, of)(replace(problem, accuracy_percent=accuracy_percent))
    costs = {name: f.cost(of).tolist() for name, f in problem.frontiers.items()}
    errors = {name: f.squared_error.tolist() for name, f in problem.frontiers.items()}
    points, walked = cheapest(costs, errors), []
    for step in [None, *path(costs, errors)]:
        if step is not None:
            points = points | {step.name: step.index}
        walked.append({name: problem.frontiers[name].rank(index) for name, index in points.items()})
    assert all(rank is None for rank in walked[-1].values()), "the path ends at the dense network"
    expected = next(ranks for ranks in walked if problem.accuracy_percent(ranks) >= 90 - epsilon)
    assert choice.ranks == expected
    assert expected in probed, "what is chosen was measured"
    assert len(probed) <= 3 + len(walked).bit_length()
    assert f"{len(probed)} probes" in choice.reason


def test_accuracy_that_nothing_reaches_takes_the_most_accurate_and_says_so():
    problem = replace(measured(problem_of(1)), reference_percent=lambda: 99.0)
    choice = Accuracy(1.0)(problem)
    assert set(choice.ranks.values()) == {None}
    assert "no probe reaches" in choice.reason

    def upside_down(ranks):
        return 95.0 if None not in ranks.values() else 90.0

    choice = Accuracy(1.0)(replace(problem, accuracy_percent=upside_down))
    assert None not in choice.ranks.values(), "the most accurate of those probed, here the smallest"
    assert "95.00 %" in choice.reason


@pytest.mark.parametrize("rule", [Accuracy(1.0), Latency(0.5)])
def test_rules_that_measure_say_what_they_miss(rule):
    with pytest.raises(ValueError, match="measure"):
        rule(problem_of(0))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 1.0])
def test_latency_meets_the_measured_budget_and_is_within_one_step_of_the_optimum(seed, share):
    problem = measured(problem_of(seed))
    times = {
        name: problem.latency_ms(name, [f.rank(i) for i in range(len(f))], 2) for name, f in problem.frontiers.items()
    }

    def spent(points):
        return sum(times[name][index] for name, index in points.items())

    allowed = share * sum(time[-1] for time in times.values())
    feasible = [p for p in combinations(problem) if spent(p) <= allowed + 1e-9]
    rule = Latency(share, batch_size=2, num_ranks=10)  # more than there are: all of them
    if not feasible:
        with pytest.raises(ValueError, match="raise the share to"):
            rule(problem)
        return
    chosen = points_of(problem, rule(problem))
    assert spent(chosen) <= allowed + 1e-9
    largest_step = max(float(-f.squared_error.diff().min()) for f in problem.frontiers.values())
    assert error(problem, chosen) <= min(error(problem, p) for p in feasible) + largest_step


def test_latency_measures_as_many_ranks_as_asked():
    asked = []

    def latency_ms(name, ranks, batch):
        asked.append(ranks)
        return [1.0 + index for index in range(len(ranks))]

    Latency(1.0, num_ranks=2)(replace(problem_of(2), latency_ms=latency_ms))
    assert [len(ranks) for ranks in asked] == [3, 3, 3], "two ranks and the dense layer"
    assert all(ranks[-1] is None for ranks in asked)
