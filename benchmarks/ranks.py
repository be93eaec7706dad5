"""What Tucker-2 and tensor trains gain in squared error: HOOI that converges, and a bound that is near the error.

    python -m benchmarks.ranks [--network resnet20|vgg16] [--rounds 1]

Every line compares squared errors `Σ ‖W − Ŵ‖² / ‖W‖²` over the layers, measured on the factors, and seconds of a C step
on the CPU. Tucker-2: the same ranks with two sweeps of HOOI, with the defaults, and with fifty sweeps. Tensor trains:
the ranks that a rule chooses from `linalg.tt_bound` against those from the sum of the bonds alone, and against those
from the errors of all points of all frontiers (one TT-SVD each, for ResNet-20 only). Weights are random: noise, the
slowest of all for HOOI; or with falling singular values, from 1 to between 1/2 and 1/50 of it in each layer, as trained
weights have.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.ratios import medians
from decompositions.core.frontier import as_modes
from decompositions.rank_search.budget import Budget
from decompositions.rank_search.cost import Cost
from decompositions.rank_search.rule import RankProblem
from decompositions.search.c_step import Analyses, RankSearch
from decompositions.search.prepare import prepare
from decompositions.tt import TT
from decompositions.tucker2 import Tucker2
from networks.resnet import resnet
from networks.vgg import vgg

IMAGE, CLASSES = (3, 32, 32), 10
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: resnet(IMAGE, CLASSES, depth=20),
    "vgg16": lambda: vgg(IMAGE, CLASSES, depth=16),
}
# With this weight layers take ranks between the smallest and the dense one.
COST = Cost(10.0, "params")
RULES: dict[str, Any] = {
    **{f"budget {share} {of}": Budget(share, of) for share in (0.1, 0.2, 0.3) for of in ("params", "macs")},
    "cost 10 params": COST,
}


def main() -> None:
    """Print a line for each network, kind of weights and rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=[*NETWORKS])
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    for name in [arguments.network] if arguments.network else NETWORKS:
        for weights in ("noise", "falling"):
            network = NETWORKS[name]()
            draw(network, falling=weights == "falling")
            hooi(f"{name}, {weights}", network, arguments.rounds)
            bounds(f"{name}, {weights}", network, arguments.rounds, measure_all=name == "resnet20")


@torch.no_grad()
def draw(network: nn.Module, falling: bool) -> None:
    """Fill the weights of a network with noise, or with noise whose singular values fall geometrically."""
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.normal_(generator=generator)
            if falling:
                last = 0.5 * 25.0 ** -float(torch.rand(1, generator=generator))
                u, s, v = torch.linalg.svd(layer.weight.flatten(1), full_matrices=False)
                values = last ** torch.linspace(0, 1, len(s))
                layer.weight.copy_((u * values @ v).reshape(layer.weight.shape))


def hooi(title: str, network: nn.Module, rounds: int) -> None:
    """Compare sweeps of HOOI at the ranks of a fifth of the parameters."""
    formats = {"two": Tucker2(2, 0.0), "default": Tucker2(), "fifty": Tucker2(50, 0.0)}
    searches = {key: search_of(network, format, Budget(0.2)) for key, format in formats.items()}
    choice = searches["two"](searches["two"].weights, 1.0).choice

    def step(key: str) -> Callable[[], object]:
        return lambda: searches[key](searches[key].weights, 1.0, choice)

    seconds = medians({key: step(key) for key in ("two", "default")}, rounds)
    found = {key: error_of(search, search(search.weights, 1.0, choice).factors) for key, search in searches.items()}
    print(
        f"{title}, tucker2: squared error {found['two']:.4f} after two sweeps, x {found['default'] / found['two']:.5f} "
        f"with the defaults, x {found['fifty'] / found['two']:.5f} after fifty; "
        f"C step {seconds['two']:.2f} s, {seconds['default']:.2f} s",
        flush=True,
    )


def bounds(title: str, network: nn.Module, rounds: int, measure_all: bool) -> None:
    """Compare the ranks that rules choose from both bounds, and from all errors if `measure_all`."""
    search = search_of(network, TT(), COST)
    seconds = medians({"analysis": lambda: search.analyse(search.weights)}, rounds)["analysis"]
    analyses = search.analyse(search.weights)
    sharp = search.problem(analyses, 1.0)
    tt: Any = analyses.of
    frontiers = {name: replace(tt[name], shared=()).frontier(site) for name, site in search.sites.items()}
    problems = {"sum": search.problem(replace(analyses, frontiers=frontiers), 1.0), "sharp": sharp}
    if measure_all:
        problems["all errors"] = with_real_errors(sharp, analyses)
    print(f"{title}, tt: {seconds:.2f} s to analyse all layers", flush=True)
    for name, rule in RULES.items():
        worth = {key: error_or_objective(rule, search, analyses, problem) for key, problem in problems.items()}
        ratios = ", ".join(f"x {worth[key] / worth['sum']:.4f} from {key}" for key in problems if key != "sum")
        print(f"  {name}: {worth['sum']:.4f} with ranks from the sum, {ratios}", flush=True)


def search_of(network: nn.Module, format: Any, rule: Any) -> RankSearch:
    """Return the rank search of a network, errors relative to the norms."""
    return prepare(network, IMAGE, format, rule, normalize=True)


def with_real_errors(problem: RankProblem, analyses: Analyses) -> RankProblem:
    """Return the problem with the errors of the cores, one TT-SVD a point."""
    frontiers = {}
    for name, frontier in problem.frontiers.items():
        analysis: Any = analyses.of[name]
        errors = [
            float((analysis.weight - analysis.decompose(tuple(row)).to_tensor()).square().sum())
            for row in frontier.ranks[:-1].tolist()
        ]
        shares = torch.tensor([*errors, 0.0], dtype=torch.float64) / analyses.frontiers[name].squared_norm
        frontiers[name] = replace(frontier, squared_error=shares)
    return replace(problem, frontiers=frontiers)


def error_or_objective(rule: Any, search: RankSearch, analyses: Analyses, problem: RankProblem) -> float:
    """The real squared error of the rule's choice; for the cost rule that and the cost, as it weighs them."""
    ranks = rule(problem).ranks
    error = error_of(search, analyses.factors(ranks))
    if not isinstance(rule, Cost):
        return error
    costs = sum(
        search.sites[name].num_params
        if rank is None
        else int(search.format.count(search.sites[name], as_modes(rank))[0])
        for name, rank in ranks.items()
    )
    return rule.weight * costs / problem.dense_cost("params") + problem.penalty / 2 * error


def error_of(search: RankSearch, factors: Mapping[str, Any]) -> float:
    """`Σ ‖W − Ŵ‖² / ‖W‖²` over the layers that were factorised; the others have none."""
    weights: dict[str, Tensor] = search.weights
    return sum(
        float((weights[name] - found.to_tensor()).square().sum() / weights[name].square().sum())
        for name, found in factors.items()
    )


if __name__ == "__main__":
    main()
