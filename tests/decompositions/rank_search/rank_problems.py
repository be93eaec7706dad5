"""Small random rank problems, and all their answers."""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch

from decompositions.core.frontier import Frontier, pareto_frontier
from decompositions.rank_search.rule import RankProblem


def random_frontier(seed: int, max_rank: int = 6, dense: bool = True) -> Frontier:
    generator = torch.Generator().manual_seed(seed)
    energy = torch.rand(max_rank, generator=generator, dtype=torch.float64).pow(3).sort(descending=True).values
    errors = torch.cat([energy.flip(0).cumsum(0).flip(0), energy.new_zeros(1)])
    unit = int(torch.randint(3, 30, (1,), generator=generator))
    positions = int(torch.randint(1, 9, (1,), generator=generator))
    ranks = torch.arange(max_rank + 1)
    dense_params = unit * max_rank - unit // 2
    return pareto_frontier(
        ranks[:, None],
        ranks * unit,
        ranks * unit * positions,
        errors,
        dense_params=dense_params,
        dense_macs=dense_params * positions,
        squared_norm=float(energy.sum()),
        dense=dense,
    )


def problem_of(seed: int, num_layers: int = 3, penalty: float = 0.7, dense: bool = True) -> RankProblem:
    frontiers = {f"layer{i}": random_frontier(10 * seed + i, dense=dense) for i in range(num_layers)}
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
