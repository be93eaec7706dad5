"""The role of a method, what it returns, and the steps that the compressing methods share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from torch import nn

from decompositions.core.format import Format
from decompositions.core.metric import Metric
from decompositions.network.structure import Structure, describe, replace_layers
from decompositions.rank_search.rule import RankChoice, RankRule
from decompositions.search.c_step import CStep, RankSearch
from decompositions.search.prepare import prepare
from lightning_modules.core.broadcast_rule import BroadcastRule
from lightning_modules.core.calibration import Calibration
from lightning_modules.training.classifier import Classifier, cross_entropy
from lightning_modules.training.distillation import Distilled
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Phase, Schedule
from runtime.console import say
from runtime.copies import copy_network
from runtime.distributed import group


@dataclass(frozen=True)
class Compressed:
    """A compressed network, the structure that rebuilds it, and how it was found.

    Args:
        network: the compressed network.
        structure: what `restore` builds it from; empty if no layer was replaced.
        layers: for each layer its rank, counts, and the reason why it is dense.
        rank_reason: why these ranks were chosen.
        violation: `Σ ‖W − Θ‖²` of the last C step, in its metric, or None.
        history: one entry for each step or stage.
        untuned: the network before its factors were trained; None if they started at random.
        calibration: how the metric was measured, or None for the identity.
    """

    network: nn.Module
    structure: Structure = field(default_factory=dict)
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    rank_reason: str | None = None
    violation: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    untuned: nn.Module | None = None
    calibration: dict[str, Any] | None = None


@runtime_checkable
class Method(Protocol):
    """The order in which things are trained and compressed.

    Implementations are frozen dataclasses whose fields are the options of their YAML file. Two optional class
    variables, both written as literals because they are read from the source:

    `trains`: True where absent. A method that trains nothing beyond the reference sets it to False: the kind of device
    is no part of the identity of a method that trains nothing.
    `runs_on`: the kinds of device that it can run on; all where absent.
    """

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Raise `ValueError` if the method cannot compress `network`, which is untrained, on this schedule."""
        ...

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Return the compressed form of `reference`, a trained network, which itself does not change."""
        ...


class CompressionOptions(Protocol):
    """The options that all methods with a format and a rank rule have."""

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
    @property
    def metric(self) -> Metric | None: ...
    @property
    def joint_qkv(self) -> bool: ...


def prepare_search(
    method: CompressionOptions,
    network: nn.Module,
    input_shape: Sequence[int],
    evaluate: Callable[[], float] | None = None,
) -> RankSearch:
    """Return the rank search of `network` with the method's options.

    LSTMs, GRUs and attention are unfused in place. `evaluate` returns the network's validation accuracy in percent.
    Raises `ValueError` if there is nothing to compress.
    """
    return prepare(
        network,
        input_shape,
        method.decomposition,
        method.rank,
        layers=method.layers,
        min_rank=method.min_rank,
        normalize=method.normalize,
        joint_qkv=method.joint_qkv,
        evaluate=evaluate,
    )


def prepare_copy(
    method: CompressionOptions, reference: nn.Module, runner: Runner
) -> tuple[nn.Module, RankSearch, Calibration]:
    """Return a copy of the reference on the device of training, its rank search, shared by all processes, and what
    measures the method's metric, which the search does not have yet.
    """
    network = copy_network(reference).to(runner.device)
    shape = runner.data.input_shape
    search = prepare_search(method, network, shape, lambda: runner.validate(network).top1_percent)
    processes = group()
    if processes.size > 1:
        search = replace(search, rule=BroadcastRule(search.rule), processes=processes)
    return network, search, Calibration(method.metric, network, runner)


def describe_layers(search: RankSearch, step: CStep) -> dict[str, dict[str, Any]]:
    """Return, for each layer, its rank, its counts, and the reason why it is dense."""
    rows = {
        name: {"rank": rank, **step.costs[name], "reason": step.dense_reasons.get(name)}
        for name, rank in step.ranks.items()
    }
    return rows | {name: {"rank": None, "reason": reason} for name, reason in search.skipped.items()}


def choose_ranks(search: RankSearch, runner: Runner) -> CStep:
    """Return a C step on the weights as they are, and print its ranks.

    The ranks are saved: rules that measure might choose other ones when the run resumes.
    """
    penalty, saved = runner.schedule.penalty.weight(0), runner.load_state()
    step = search(search.weights, penalty, None if saved is None else RankChoice(**saved))
    if saved is None:
        runner.save_state(vars(step.choice))
    say(f"ranks {step.ranks}: {step.choice.reason}")
    return step


def with_factors(network: nn.Module, search: RankSearch, step: CStep) -> nn.Module:
    """Return a copy of `network` with the factors of a C step in the place of its layers.

    Raises `RuntimeError` if its size is not what the frontiers promised.
    """
    compressed = replace_layers(network, search.format, step.factors, step.biases)
    promised = search.rest_params + sum(cost["params"] for cost in step.costs.values())
    if (num_params := sum(p.numel() for p in compressed.parameters())) != promised:
        raise RuntimeError(f"the frontiers promised {promised} parameters, the layers have {num_params}")
    return compressed


def train_compressed(network: nn.Module, reference: nn.Module, phase: Phase, title: str, runner: Runner) -> None:
    """Train a compressed network for one phase, with distillation from `reference` where the schedule asks for it."""
    distillation = runner.schedule.distillation
    loss = Distilled(reference.to(runner.device), distillation) if distillation.weight > 0 else cross_entropy
    runner.train(Classifier(network, phase, loss=loss), title)


def compressed_result(
    network: nn.Module,
    search: RankSearch,
    step: CStep,
    violation: float | None = None,
    history: list[dict[str, Any]] | None = None,
    *,
    untuned: nn.Module | None = None,
    calibration: Calibration,
) -> Compressed:
    """Return `network`, compressed as `step` says, with its structure and the record of its layers."""
    return Compressed(
        network,
        describe(search.format, step.ranks, search.unfused),
        describe_layers(search, step),
        step.choice.reason,
        violation,
        history or [],
        untuned,
        calibration.record(search),
    )
