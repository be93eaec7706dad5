"""The role of a method, what it returns, and what all compressing methods do alike."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from torch import nn

from decompositions.core.format import Format
from decompositions.network.structure import Structure, describe, replace_layers
from decompositions.rank_search.rule import RankChoice, RankProblem, RankRule
from decompositions.search.c_step import CStep, RankSearch
from decompositions.search.prepare import prepare
from lightning_modules.training.classifier import Classifier, cross_entropy
from lightning_modules.training.distillation import Distilled
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Phase, Schedule
from runtime.console import say
from runtime.distributed import broadcast, group


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

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Raise `ValueError` if the method cannot compress `network`, not trained yet, on this schedule."""
        ...

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Compress a trained network; `reference` itself stays as it is."""
        ...


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


def prepare_search(
    method: Compressing, network: nn.Module, input_shape: Sequence[int], evaluate: Callable[[], float] | None = None
) -> RankSearch:
    """The rank search of `network` with the method's options; raises `ValueError` if there is nothing to compress.

    LSTMs and GRUs are opened in place. `evaluate` returns the network's validation accuracy in percent.
    """
    return prepare(
        network,
        input_shape,
        method.decomposition,
        method.rank,
        layers=method.layers,
        min_rank=method.min_rank,
        normalize=method.normalize,
        evaluate=evaluate,
    )


def begin(method: Compressing, reference: nn.Module, runner: Runner) -> tuple[nn.Module, RankSearch]:
    """A copy of the reference that may be changed, where it will be trained, and the search of its ranks."""
    network = copy.deepcopy(reference).to(runner.device)
    shape = runner.data.input_shape
    search = prepare_search(method, network, shape, lambda: runner.validate(network).top1_percent)
    together = group()
    return network, search if together.size == 1 else replace(
        search, rule=BroadcastRule(search.rule), processes=together
    )


def describe_layers(search: RankSearch, step: CStep) -> dict[str, dict[str, Any]]:
    """What the result says of each layer: rank, counts, and why a layer is dense."""
    rows = {
        name: {"rank": rank, **step.costs[name], "reason": step.dense_reasons.get(name)}
        for name, rank in step.ranks.items()
    }
    return rows | {name: {"rank": None, "reason": reason} for name, reason in search.skipped.items()}


def choose_ranks(search: RankSearch, runner: Runner) -> CStep:
    """One C step on the weights as they are; its ranks are kept for a run that goes on, because some rules measure."""
    penalty, saved = runner.schedule.penalty.weight(0), runner.recall()
    step = search(search.weights, penalty, None if saved is None else RankChoice(**saved))
    if saved is None:
        runner.remember(vars(step.choice))
    say(f"ranks {step.ranks}: {step.choice.reason}")
    return step


def replaced(network: nn.Module, search: RankSearch, step: CStep) -> nn.Module:
    """A copy of `network` with the factors of a C step in place; raises if its size is not what was promised."""
    compressed = replace_layers(network, search.format, step.factors)
    promised = search.rest_params + sum(cost["params"] for cost in step.costs.values())
    if (num_params := sum(p.numel() for p in compressed.parameters())) != promised:
        raise RuntimeError(f"the frontiers promised {promised} parameters, the layers have {num_params}")
    return compressed


def train(network: nn.Module, reference: nn.Module, phase: Phase, title: str, runner: Runner) -> None:
    """Train a compressed network for one phase, with distillation from `reference` where the schedule asks for it."""
    distillation = runner.schedule.distillation
    loss = Distilled(reference.to(runner.device), distillation) if distillation.weight > 0 else cross_entropy
    runner.train(Classifier(network, phase, loss=loss), title)


def outcome(
    network: nn.Module,
    search: RankSearch,
    step: CStep,
    violation: float | None = None,
    history: list[dict[str, Any]] | None = None,
) -> Compressed:
    """What a compressing method returns."""
    structure = describe(search.format, step.ranks, search.unfused)
    return Compressed(network, structure, describe_layers(search, step), step.choice.reason, violation, history or [])


@dataclass(frozen=True)
class BroadcastRule:
    """A rank rule that all processes follow alike. One that reads a clock is asked in the first process alone: no two
    measures are equal, and processes that measure at once disturb each other."""

    rule: RankRule

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Choose; raises in every process what the rule raised in the first."""
        if not getattr(self.rule, "reads_a_clock", False):
            return broadcast(self.rule(problem))
        outcome: RankChoice | ValueError | None = None
        if group().rank == 0:
            try:
                outcome = self.rule(problem)
            except ValueError as error:
                outcome = error
        outcome = broadcast(outcome)
        if isinstance(outcome, ValueError):
            raise outcome
        assert outcome is not None
        return outcome
