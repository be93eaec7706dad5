"""The role of a method, what it returns, and the two things all compressing methods do alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import nn

from decompositions.c_step import CStep, RankSearch
from decompositions.format import Format
from decompositions.frontier import as_rank
from decompositions.rank_search.rule import RankRule
from decompositions.replace import Structure, describe, replace_layers
from decompositions.site import Survey, survey
from evaluation.counts import count_macs
from lightning_modules.classifier import Classifier
from lightning_modules.runner import Runner


@dataclass(frozen=True)
class Compressed:
    """A compressed network, the structure that rebuilds it, and what is to be told of how it came about."""

    network: nn.Module
    structure: Structure = field(default_factory=dict)
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    rank_reason: str | None = None
    violation: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


@runtime_checkable
class Method(Protocol):
    """What trains when. Implementations are frozen dataclasses whose fields are the options of their YAML file."""

    def check(self, network: nn.Module, input_shape: Sequence[int]) -> None:
        """Raise `ValueError` if the method cannot compress `network`, whose weights are not trained yet."""
        ...

    def compress(self, network: nn.Module, runner: Runner) -> Compressed:
        """Compress a trained `network`, which may be changed on the way."""
        ...


@dataclass(frozen=True)
class Search:
    """The survey of a network and the rank search over its sites."""

    survey: Survey
    rank_search: RankSearch

    def try_on(self, network: nn.Module) -> None:
        """Search ranks for the weights that `network` happens to have, replace its smallest layer and load it again.

        What fails here would fail after training.
        """
        weights = {name: network.get_parameter(f"{name}.weight").detach() for name in self.survey.sites}
        problem = self.rank_search.problem(weights, penalty=1.0)
        if all(len(frontier) == 1 for frontier in problem.frontiers.values()):
            raise ValueError(f"no layer has a rank of at least min_rank={self.rank_search.min_rank} that is smaller")
        format = self.rank_search.format
        for name, rank in self.rank_search.choose(problem).ranks.items():
            if rank is not None:
                format.zeros(weights[name], rank)  # refuses ranks that do not go together
        name = min(weights, key=lambda name: weights[name].numel())
        rank = as_rank([max(min(low, high), 1) for low, high in problem.frontiers[name].allowed])
        dense = network.get_submodule(name)
        layers = [format.layer(dense, factors(weights[name], rank)) for factors in (format.decompose, format.zeros)]
        layers[1].load_state_dict(layers[0].state_dict())

    def layers(self, step: CStep) -> dict[str, dict[str, Any]]:
        """What the result says of each layer: rank, counts, and why a layer is dense."""
        rows = {
            name: {
                "rank": rank,
                **step.costs[name],
                "reason": step.dense_reasons.get(name),
            }
            for name, rank in step.ranks.items()
        }
        return rows | {name: {"rank": None, "reason": reason} for name, reason in self.survey.skipped.items()}


class Compressing(Protocol):
    """The options that all compressing methods have."""

    @property
    def decomposition(self) -> Format: ...
    @property
    def rank(self) -> RankRule: ...
    @property
    def layers(self) -> list[str]: ...
    @property
    def min_rank(self) -> int: ...
    @property
    def normalize(self) -> bool: ...


def prepare_search(method: Compressing, network: nn.Module, input_shape: Sequence[int]) -> Search:
    """Find the sites of `network` and what else it costs; raises `ValueError` if there is nothing to compress."""
    found = survey(network, input_shape, method.layers)
    refused = {n: why for n, site in found.sites.items() if (why := method.decomposition.refuses(site.layer))}
    sites = {name: site for name, site in found.sites.items() if name not in refused}
    found = Survey(sites, found.skipped | refused)
    if not found.sites:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.skipped.items())
        raise ValueError(f"the network has no layer to compress ({reasons})")
    rest_params = sum(p.numel() for p in network.parameters()) - sum(site.num_params for site in sites.values())
    rest_macs = count_macs(network, input_shape) - sum(site.macs for site in sites.values())
    search = RankSearch(
        found.sites, method.decomposition, method.rank, rest_params, rest_macs, method.min_rank, method.normalize
    )
    return Search(found, search)


def replace_and_fine_tune(
    network: nn.Module, search: Search, step: CStep, runner: Runner
) -> tuple[nn.Module, Structure]:
    """Put the factors of the last C step in place and train them for the schedule's last phase."""
    compressed = replace_layers(network, search.rank_search.format, step.factors)
    promised = search.rank_search.rest_params + sum(cost["params"] for cost in step.costs.values())
    if (num_params := sum(p.numel() for p in compressed.parameters())) != promised:
        raise RuntimeError(f"the frontiers promised {promised} parameters, the layers have {num_params}")
    runner.train(Classifier(compressed, runner.schedule.fine_tune), "fine-tuning")
    return compressed, describe(search.rank_search.format, step.ranks)
