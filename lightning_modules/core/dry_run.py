"""What would fail after hours of training, tried on the untrained network in a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from decompositions.core.frontier import as_rank
from lightning_modules.core.method import Compressing, prepare_search
from lightning_modules.training.schedule import Schedule


def refuse_idle_distillation(schedule: Schedule, num_epochs: int) -> None:
    """Raise `ValueError` if the reference is to teach in `num_epochs` epochs that are none."""
    if schedule.distillation.weight > 0 and num_epochs == 0:
        raise ValueError(
            f"schedule.distillation.weight: expected 0, got {schedule.distillation.weight:g}: there is no epoch in "
            "which this method trains a compressed network"
        )


def dry_run(
    method: Compressing, network: nn.Module, input_shape: Sequence[int], *, why_dense: str | None = None
) -> None:
    """Search ranks for the weights that `network` happens to have, replace its smallest layer and load it again.

    What fails here would fail after training. Accuracies and times are not measured: any choice is good enough.
    `why_dense` says why a method cannot use formats whose layers equal no dense layer; they are refused with it.
    """
    search = prepare_search(method, network, input_shape, evaluate=lambda: 0.0)
    weights = {name: network.get_parameter(f"{name}.weight").detach() for name in search.sites}
    analyses = search.analyse(weights)
    # Nothing is measured: this network is not trained, and not yet where it will run.
    problem = replace(
        search.problem(analyses, penalty=1.0),
        latency_ms=lambda name, ranks, batch: [float(index) for index in range(len(ranks))],
    )
    if all(len(frontier) == 1 for frontier in problem.frontiers.values()):
        raise ValueError(f"no layer has a rank of at least min_rank={search.min_rank} that is smaller")
    for name, rank in search.choose(problem).ranks.items():
        if rank is not None:
            search.format.zeros(weights[name], rank)  # refuses ranks that do not go together
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
            f"layer {name}: {why_dense}, and a layer with activations inside stands for none; take method=direct or "
            "method=scratch, or another format"
        )
