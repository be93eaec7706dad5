"""What repairs a compressed network without training: biases for mean inputs, and statistics of batch norms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from decompositions.core.metric import Batches, Reduce
from decompositions.core.site import Site
from decompositions.metrics.passes import count_over_processes, outputs_of, pairs
from evaluation.modes import evaluating


def reestimate_norms(network: nn.Module, batches: Batches, num_samples: int, all_reduce: Reduce) -> int:
    """Give every batch norm the mean and variance of its inputs, averaged over batches; return how many norms."""
    norms = _norms(network)
    momenta = [norm.momentum for norm in norms]
    with evaluating(network), torch.no_grad():
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # the mean over all batches
                norm.train()
            for x, _ in pairs(network, batches, num_samples):
                outputs_of(network, x)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
        size = count_over_processes(1, all_reduce)
        for norm in norms:
            assert norm.running_mean is not None and norm.running_var is not None
            mean, square = norm.running_mean.clone(), norm.running_var + norm.running_mean.square()
            if size > 1:
                norm.running_mean.copy_(all_reduce(mean) / size)
                norm.running_var.copy_(all_reduce(square) / size - norm.running_mean.square())
    return len(norms)


def has_statistics(network: nn.Module) -> bool:
    """Return True if a batch norm keeps statistics."""
    return bool(_norms(network))


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def biases_for(
    sites: Mapping[str, Site], compressed: Mapping[str, Tensor], means: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return `b + (W − Θ) x̄` of each layer whose mean input is known, Θ its `compressed` weight."""
    found = {}
    for name, weight in compressed.items():
        if name in means and sites[name].num_bias == 0:
            raise ValueError(f"metric: layer {name} has no bias to make up for a mean input; leave its mean out")
        if name in means:
            difference = sites[name].weight.detach().double() - weight.double()
            bias = sites[name].layer.get_parameter("bias").detach()
            found[name] = bias + (difference.flatten(1) @ means[name].to(difference.device)).to(bias)
    return found
