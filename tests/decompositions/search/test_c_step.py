"""The C step: it never raises the joint objective, and its enumeration equals a loop of decompositions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decompositions.core.site import survey
from decompositions.cur import CUR
from decompositions.rank_search.cost import Cost
from decompositions.rank_search.fixed import Fixed
from decompositions.rank_search.rule import RankChoice
from decompositions.search.c_step import RankSearch
from decompositions.svd import SVD


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 12), nn.Tanh(), nn.Linear(12, 5))
    return nn.Sequential(*layers).double()


def search(format, weight=1e-4, **options) -> tuple[RankSearch, dict[str, torch.Tensor]]:
    sites = survey(network(), (3, 6, 6)).sites
    rule = Cost(weight, "macs", relative=False)
    return RankSearch(sites, format, rule, **options), {n: s.weight.detach() for n, s in sites.items()}


@pytest.mark.parametrize("format", [SVD(), CUR()], ids=["svd", "cur"])
@pytest.mark.parametrize("penalty", [1e-3, 1e-1, 10.0])
def test_enumeration_equals_brute_force(format, penalty):
    """Decompose at every rank, measure the error, take the least objective: the same ranks and the same objective."""
    rank_search, weights = search(format)
    step = rank_search(weights, penalty)
    for name, weight in weights.items():
        site = rank_search.sites[name]
        candidates = {None: 1e-4 * site.macs}
        for rank in range(1, min(weight.reshape(weight.shape[0], -1).shape) + 1):
            factors = format.analyse(weight).decompose(rank)
            if factors.num_params < weight.numel():
                error = float((weight - factors.to_tensor()).square().sum())
                candidates[rank] = 1e-4 * factors.num_params * site.positions + penalty / 2 * error
        assert candidates[step.ranks[name]] == pytest.approx(min(candidates.values()), rel=1e-9)


@pytest.mark.parametrize("format", [SVD(), CUR()], ids=["svd", "cur"])
@pytest.mark.parametrize("normalize", [False, True])
def test_never_raises_the_joint_objective(format, normalize):
    """From any feasible state (another step's result), at fixed weights and penalty, the objective does not rise."""
    rank_search, weights = search(format, normalize=normalize)

    def objective(state, penalty):
        total = 0.0
        for name, weight in weights.items():
            scale = 1 / float(weight.square().sum()) if normalize else 1.0
            error = float((weight - state.compressed[name]).square().sum())
            total += 1e-4 * state.costs[name]["macs"] + penalty / 2 * error * scale
        return total

    penalties = (1e-2, 1e-1, 1.0, 10.0)
    states = [rank_search({n: w + 0.1 * torch.randn_like(w) for n, w in weights.items()}, p) for p in penalties]
    assert len({tuple(s.ranks.values()) for s in states}) > 1, "the states must differ, or nothing is tested"
    for penalty in penalties:
        after = objective(rank_search(weights, penalty), penalty)
        for state in states:
            assert after <= objective(state, penalty) * (1 + 1e-9)


def test_ranks_fall_with_cost_and_rise_with_penalty():
    rank_search, weights = search(SVD())
    params = [sum(c["params"] for c in rank_search(weights, p).costs.values()) for p in (1e-3, 1e-2, 1e-1, 1.0)]
    assert params == sorted(params)
    assert params[0] < params[-1]


def test_normalize_changes_the_choice():
    """Two layers alike but for their scale: without it the small one loses, with it they are treated alike."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(20, 20, bias=False), nn.Linear(20, 20, bias=False)).double()
    with torch.no_grad():
        net[1].weight.copy_(net[0].weight * 100)
    sites = survey(net, (20,)).sites
    weights = {n: s.weight.detach() for n, s in sites.items()}
    ranks = {
        normalize: RankSearch(sites, SVD(), Cost(0.2, "params", relative=False), normalize=normalize)(
            weights, 20.0
        ).ranks
        for normalize in (False, True)
    }
    assert ranks[True]["0"] == ranks[True]["1"]
    assert ranks[False]["0"] != ranks[False]["1"]


def test_a_rank_that_saves_nothing_leaves_the_layer_dense_with_the_reason():
    sites = survey(network(), (3, 6, 6)).sites
    weights = {n: s.weight.detach() for n, s in sites.items()}
    step = RankSearch(sites, SVD(), Fixed({"5": 5, "*": 2}))(weights, 1.0)
    assert step.ranks == {"0": 2, "3": 2, "5": None}
    assert step.dense_reasons == {"5": "rank 5 is not smaller"}
    assert step.costs["5"] == {"params": sites["5"].num_params, "macs": sites["5"].macs}
    assert set(step.factors) == {"0", "3"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda problem: None, "expected a RankChoice"),
        (lambda problem: RankChoice({"0": 2}, ""), "with ranks for"),
        (lambda problem: RankChoice({n: 99 for n in problem.frontiers}, ""), "layer 0 takes ranks in"),
        (lambda problem: RankChoice({n: (1, 1) for n in problem.frontiers}, ""), "layer 0 takes ranks in"),
        (lambda problem: RankChoice.of_points(problem, {n: -1 for n in problem.frontiers}, ""), "points 0 to"),
        (lambda problem: RankChoice.of_points(problem, {n: 99 for n in problem.frontiers}, ""), "points 0 to"),
    ],
)
def test_answers_of_a_rule_that_are_no_choice_are_refused(answer, said):
    rank_search, weights = search(SVD())
    with pytest.raises(ValueError, match=said):
        RankSearch(rank_search.sites, SVD(), answer)(weights, 1.0)


def test_dense_layers_are_their_own_projection_and_errors_name_the_layer():
    rank_search, weights = search(SVD(), weight=0.0)
    step = rank_search(weights, 1.0)
    assert set(step.ranks.values()) == {None}
    assert all(torch.equal(step.compressed[n], w) for n, w in weights.items())
    weights["3"] = weights["3"].clone()
    weights["3"][0, 0] = float("nan")
    with pytest.raises(ValueError, match="layer 3: the weight holds NaN"):
        rank_search(weights, 1.0)
