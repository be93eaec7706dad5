"""Find what would fail after hours of training, in a second, on the untrained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from decompositions.core.fallback import FormatWithFallback
from decompositions.core.format import Format
from decompositions.core.frontier import as_rank
from decompositions.core.metric import Metric
from decompositions.core.whitening import MetricFormat, ModeFormat, serves_identity_alone
from decompositions.metrics.measure import measure
from decompositions.network.structure import replace_layers
from decompositions.rank_search.fixed import Fixed
from decompositions.rank_search.rule import RankRule
from evaluation.example import Example
from evaluation.trial import blame, require_called
from lightning_modules.core.method import CompressionOptions, prepare_search
from lightning_modules.training.schedule import Schedule


def refuse_idle_distillation(schedule: Schedule, num_epochs: int) -> None:
    """Raise `ValueError` if the schedule asks for distillation but `num_epochs`, those of the student, is 0."""
    if schedule.distillation.weight > 0 and num_epochs == 0:
        raise ValueError(
            f"schedule.distillation.weight: expected 0, got {schedule.distillation.weight:g}: there is no epoch in "
            "which this method trains a compressed network"
        )


def refuse_unread_metric(metric: Metric | None, rank: RankRule) -> None:
    """Raise `ValueError` for a metric that would choose ranks, where a rule has them fixed, and no factors."""
    if metric is not None and isinstance(rank, Fixed):
        raise ValueError(
            f"metric: {type(metric).__name__} would choose the ranks and no factors here, and rank=fixed has them "
            "chosen; take metric=identity, or another rank rule"
        )


def require_served(format: Format, weight: Tensor) -> None:
    """Raise `ValueError` if the format cannot factorise such a weight in a metric."""
    other = format.fallback(weight) if isinstance(format, FormatWithFallback) else None
    if other is not None:
        require_served(other, weight)
    elif not isinstance(format, ModeFormat) and (
        isinstance(format, FormatWithFallback) or not isinstance(format, MetricFormat)
    ):
        raise serves_identity_alone(format)


def _pass_samples(network: nn.Module, input_shape: Sequence[int]) -> None:
    """Raise `ValueError` for a compressed network that reads something of a dense layer which factors do not have."""
    x = torch.zeros(2, *input_shape)
    for training in (False, True):
        try:
            with torch.no_grad():
                network.train(training)(x)
        except Exception as error:
            mode = "training" if training else "evaluation"
            raise ValueError(
                f"the compressed network passes no samples in {mode} mode: {blame(network, error)}; leave the layer "
                "out by method.layers"
            ) from error


def dry_run(
    method: CompressionOptions, network: nn.Module, input_shape: Sequence[int], *, why_dense: str | None = None
) -> None:
    """Search ranks for the untrained weights, build the compressed form of the smallest layer, and load it again; pass
    two samples through the compressed network, in evaluation and in training mode.

    Accuracies and times are not measured: any ranks will do.

    Args:
        method: its options are tried.
        network: changed only in that its LSTMs, GRUs and attention are unfused.
        input_shape: of one sample.
        why_dense: why the method needs formats whose layers equal a dense layer; None if it does not.

    Raises:
        ValueError: no layer can be compressed, no rank is small enough, ranks do not fit together, the format's layers
            equal no dense layer although `why_dense` is given, or the compressed network passes no samples.
    """
    search = prepare_search(method, network, input_shape, evaluate=lambda: 0.0)
    weights = {name: network.get_parameter(f"{name}.weight").detach() for name in search.sites}
    if method.metric is not None:  # of two samples of noise: only what has the wrong shape shows
        batches = [(torch.randn(2, *input_shape), torch.zeros(2, dtype=torch.long))]
        for name in measure(method.metric, network, search.sites, batches):
            require_served(search.format, weights[name])
    analyses = search.analyse(weights)
    # Made-up times: this network is not trained, and not yet on the device where it will run.
    problem = replace(
        search.problem(analyses, penalty=1.0),
        latency_ms=lambda name, ranks, batch: [float(index) for index in range(len(ranks))],
    )
    if all(len(frontier) == 1 for frontier in problem.frontiers.values()):
        step = next(iter(problem.frontiers.values())).multiple_of
        kind = "a rank" if step == 1 else f"a multiple of rank.multiple_of={step} as rank,"
        raise ValueError(f"no layer has {kind} of at least min_rank={search.min_rank} that is smaller")
    ranks = {name: rank for name, rank in search.choose(problem).ranks.items() if rank is not None}
    zeros = {name: search.format.zeros(weights[name], rank) for name, rank in ranks.items()}  # raises if ranks misfit
    compressed = replace_layers(network, search.format, zeros)
    _pass_samples(compressed, input_shape)
    require_called(compressed, zeros, Example.of(input_shape, compressed))
    name = min(weights, key=lambda name: weights[name].numel())
    rank = as_rank([max(min(low, high), 1) for low, high in problem.frontiers[name].allowed])
    dense = network.get_submodule(name)
    factors = (analyses.factors({name: rank})[name], search.format.zeros(weights[name], rank))
    layers = [search.format.layer(dense, each) for each in factors]
    layers[1].load_state_dict(layers[0].state_dict())
    for name, frontier in problem.frontiers.items() if why_dense else ():
        ones = search.format.zeros(weights[name], as_rank([1] * len(frontier.allowed)))
        if hasattr(search.format.layer(network.get_submodule(name), ones), "to_dense"):
            continue
        raise ValueError(
            f"layer {name}: {why_dense}, and a layer with activations inside equals no dense layer; take method=direct "
            "or method=scratch, or another format"
        )
