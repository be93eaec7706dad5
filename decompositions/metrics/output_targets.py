"""Factors that approximate the outputs of the dense network from the inputs of the compressed one [ZZHS16].

Layer by layer in the order of their calls; X̂ are the inputs with all layers before compressed, W X the outputs of the
dense network:

    min over Θ of rank r of  ‖W X − Θ X̂‖² + ε ‖W − Θ‖²  =  const + min ‖W* − Θ‖²_Ĝ
    Ĝ = X̂ X̂ᵀ + ε I,     W* = W (X X̂ᵀ + ε I) Ĝ⁻¹,     ε = RIDGE tr(X̂ X̂ᵀ)/n

so it is one more factorisation in a metric, of another weight. Where inputs hardly look, ε keeps W; without it noise is
divided by the smallest eigenvalues, and factors ten times as large diverge in fine-tuning. A layer with a bias has both
sides centred, and gets the bias `b + W x̄ − Θ x̂̄`. The factors are in this metric whatever the one is in which the ranks
were chosen.

[ZZHS16] Zhang, Zou, He & Sun, Accelerating very deep convolutional networks, IEEE TPAMI 38(10), 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from decompositions.core.format import Factors, Format
from decompositions.core.frontier import Rank
from decompositions.core.metric import Batches, Reduce, SiteMetric
from decompositions.core.site import Site
from decompositions.core.whitening import analyse_in
from decompositions.layers.geometry import with_bias
from decompositions.layers.stand_in import take_place
from decompositions.metrics.passes import count_over_processes, pairs, run_inputs, watching
from decompositions.metrics.patches import patches_in_parts
from evaluation.modes import evaluating
from runtime.copies import copy_network

# One-shot errors of digits and LeNet300 are the same from 0 to 1e-2, and the factors' norms are those of plain ones.
RIDGE = 1e-2


@dataclass(frozen=True)
class CrossMoments:
    """Means over the inputs x of a dense layer and x̂ of the same layer behind a compressed prefix: `x x̂ᵀ`, `x̂ x̂ᵀ`."""

    cross: Tensor
    square: Tensor
    dense: Tensor
    compressed: Tensor

    def centred(self) -> CrossMoments:
        """Return the same of `x − mean`, `x̂ − mean`."""
        cross = self.cross - torch.outer(self.dense, self.compressed)
        return replace(self, cross=cross, square=self.square - torch.outer(self.compressed, self.compressed))

    def with_ridge(self) -> CrossMoments:
        """Return both moments plus ε I."""
        mean = self.square.trace() / len(self.square)
        ridge = RIDGE * (mean if mean > 0 else 1.0) * torch.eye(len(self.square)).to(self.square)
        return replace(self, cross=self.cross + ridge, square=self.square + ridge)


def with_outputs_as_targets(
    network: nn.Module,
    sites: Mapping[str, Site],
    format: Format,
    ranks: Mapping[str, Rank],
    batches: Batches,
    num_samples: int,
    all_reduce: Reduce,
) -> tuple[dict[str, Factors], dict[str, Tensor]]:
    """Return the factors of the layers in `ranks`, at these ranks, and the biases of those that have one."""
    compressed = copy_network(network)
    factors: dict[str, Factors] = {}
    biases: dict[str, Tensor] = {}
    for name in called_in_order(network, {name: sites[name] for name in ranks}, batches):
        site = sites[name]
        moments = _cross_moments(network, compressed, name, site, batches, num_samples, all_reduce)
        moments = (moments.centred() if site.num_bias else moments).with_ridge()
        weight = site.weight.detach().double().flatten(1)
        target = torch.linalg.solve(moments.square, weight @ moments.cross, left=False)
        target = target.reshape(site.weight.shape).to(site.weight.dtype)
        factors[name] = analyse_in(format, target, SiteMetric(into=(moments.square,))).decompose(ranks[name])
        dense = site.layer
        if site.num_bias:
            theta = factors[name].to_tensor().double().flatten(1)
            shift = weight @ moments.dense - theta @ moments.compressed
            biases[name] = dense.get_parameter("bias").detach() + shift.to(site.weight)
            dense = with_bias(dense, biases[name])
        take_place(compressed, name, format.layer(dense, factors[name]).eval())
    return factors, biases


def called_in_order(network: nn.Module, sites: Mapping[str, Site], batches: Batches) -> list[str]:
    """Return the names of the layers in the order of their first calls."""
    order: dict[str, None] = {}
    with watching(sites, lambda name, layer, x, y: order.setdefault(name)):
        run_inputs(network, batches, 1)
    return [*order]


def _cross_moments(
    network: nn.Module,
    compressed: nn.Module,
    name: str,
    site: Site,
    batches: Batches,
    num_samples: int,
    all_reduce: Reduce,
) -> CrossMoments:
    num_inputs = site.weight[0].numel()
    zeros = site.weight.new_zeros(2 * num_inputs + 2, num_inputs, dtype=torch.float64)  # in one, for one all-reduce
    cross, square, sums = zeros[:num_inputs], zeros[num_inputs : 2 * num_inputs], zeros[2 * num_inputs :]
    waiting, count = list[Tensor](), 0  # the dense inputs whose compressed ones come next
    twin = Site(name, compressed.get_submodule(name), site.calls)

    def see_dense(_: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
        waiting.append(x.clone())  # what comes next may change it in place

    def see_compressed(_: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
        nonlocal count
        dense = patches_in_parts(layer, waiting.pop(0), y)
        for one, other in zip(dense, patches_in_parts(layer, x, y), strict=True):
            cross.addmm_(one.T, other)
            square.addmm_(other.T, other)
            sums[0] += one.sum(0)
            sums[1] += other.sum(0)
            count += len(one)

    with evaluating(compressed), evaluating(network), torch.no_grad():
        for x, _ in pairs(network, batches, num_samples):
            with watching({name: site}, see_dense):
                network(x)
            with watching({name: twin}, see_compressed):
                compressed(x)
    means = all_reduce(zeros) / count_over_processes(count, all_reduce)
    return CrossMoments(means[:num_inputs], means[num_inputs : 2 * num_inputs], means[-2], means[-1])
