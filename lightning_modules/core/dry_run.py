"""Find what would fail after hours of training, in a second, on the untrained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from decompositions.core.fallback import FormatWithFallback
from decompositions.core.format import Format
from decompositions.core.frontier import as_rank
from decompositions.core.metric import SiteMetric
from decompositions.core.mode_axes import mode_moments
from decompositions.core.whitening import MetricFormat, ModeFormat, serves_identity_alone
from lightning_modules.core.method import CompressionOptions, prepare_search
from lightning_modules.training.schedule import Schedule


def refuse_idle_distillation(schedule: Schedule, num_epochs: int) -> None:
    """Raise `ValueError` if the schedule asks for distillation but `num_epochs`, those of the student, is 0."""
    if schedule.distillation.weight > 0 and num_epochs == 0:
        raise ValueError(
            f"schedule.distillation.weight: expected 0, got {schedule.distillation.weight:g}: there is no epoch in "
            "which this method trains a compressed network"
        )


def require_served(format: Format, weight: Tensor, metric: SiteMetric) -> None:
    """Raise the `ValueError` that factorising in a metric would raise, without factorising more than there is need."""
    other = format.fallback(weight) if isinstance(format, FormatWithFallback) else None
    metric.require_sides(weight)
    if other is not None:
        require_served(other, weight, metric)
    elif isinstance(format, ModeFormat):
        mode_moments(metric, format.mode_axes(weight))
    elif isinstance(format, FormatWithFallback) or not isinstance(format, MetricFormat):
        raise serves_identity_alone(format)


def dry_run(
    method: CompressionOptions, network: nn.Module, input_shape: Sequence[int], *, why_dense: str | None = None
) -> None:
    """Search ranks for the untrained weights, build the compressed form of the smallest layer, and load it again.

    Accuracies and times are not measured: any ranks will do.

    Args:
        method: its options are tried.
        network: changed only in that its LSTMs and GRUs are unfused.
        input_shape: of one sample.
        why_dense: why the method needs formats whose layers equal a dense layer; None if it does not.

    Raises:
        ValueError: no layer can be compressed, no rank is small enough, ranks do not fit together, or the format's
            layers equal no dense layer although `why_dense` is given.
    """
    search = prepare_search(method, network, input_shape, evaluate=lambda: 0.0)
    weights = {name: network.get_parameter(f"{name}.weight").detach() for name in search.sites}
    if method.metric is not None:  # of two samples of noise: only what has the wrong shape shows
        batches = [(torch.randn(2, *input_shape), torch.zeros(2, dtype=torch.long))]
        for name, metric in method.metric.measure(network, search.sites, batches).items():
            require_served(search.format, weights[name], metric)
    analyses = search.analyse(weights)
    # Made-up times: this network is not trained, and not yet on the device where it will run.
    problem = replace(
        search.problem(analyses, penalty=1.0),
        latency_ms=lambda name, ranks, batch: [float(index) for index in range(len(ranks))],
    )
    if all(len(frontier) == 1 for frontier in problem.frontiers.values()):
        raise ValueError(f"no layer has a rank of at least min_rank={search.min_rank} that is smaller")
    for name, rank in search.choose(problem).ranks.items():
        if rank is not None:
            search.format.zeros(weights[name], rank)  # raises if the ranks do not fit together
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
