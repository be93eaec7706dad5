"""The rank rules that measure, accuracy and latency, against walks and brute force over small frontiers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from decompositions.rank_search.accuracy import Accuracy
from decompositions.rank_search.knapsack import cheapest, path
from decompositions.rank_search.latency import Latency
from tests.decompositions.rank_search.rank_problems import combinations, error, measured, points_of, problem_of


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
