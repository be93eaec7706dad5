"""Direct compression: one C step on the trained weights, then fine-tuning of the factors.

It is the start of learning-compression [IC20] and, with other formats and rank rules, the one-shot baselines of the
field: Tucker-2 with ranks by variational Bayes [KPYCYS16], CP [LGRSL15], a tensor train from TT-SVD [Ose11].

[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
[KPYCYS16] Kim et al., Compression of deep CNNs for fast and low power mobile applications, ICLR 2016.
[LGRSL15] Lebedev et al., Speeding-up convolutional neural networks using fine-tuned CP-decomposition, ICLR 2015.
[Ose11] Oseledets, Tensor-train decomposition, SIAM J. Sci. Comput. 33(5), 2011.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from annotated_types import Ge, MinLen
from torch import nn

from decompositions.core.format import Format
from decompositions.core.metric import Metric
from decompositions.metrics.covariance import Covariance
from decompositions.metrics.input_means import input_means
from decompositions.metrics.measure import require_no_transposed
from decompositions.metrics.output_targets import with_outputs_as_targets
from decompositions.metrics.recovery import biases_for, has_statistics, reestimate_norms
from decompositions.metrics.second_moments import MAX_SIDE
from decompositions.rank_search.rule import RankRule
from decompositions.search.c_step import CStep, RankSearch
from lightning_modules.core.calibration import Calibration
from lightning_modules.core.dry_run import dry_run, refuse_idle_distillation, refuse_unread_metric, require_served
from lightning_modules.core.method import (
    Compressed,
    choose_ranks,
    compressed_result,
    prepare_copy,
    prepare_search,
    train_compressed,
    with_factors,
)
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Schedule
from runtime.copies import copy_network
from runtime.distributed import all_reduce
from runtime.identity import AsBefore


@dataclass(frozen=True)
class Direct:
    """Decompose once, repair what needs no training, then fine-tune.

    The `cost` rule weighs errors with the schedule's first penalty, as at the start of learning-compression.

    Args:
        decomposition: the format of the factors.
        rank: the rule that chooses the ranks.
        layers: name patterns of the layers to compress.
        min_rank: the smallest rank allowed; 0 allows to remove a layer's weight.
        normalize: divide squared errors by `‖W‖²` when ranks are chosen.
        metric: how much errors matter; None is the identity.
        joint_qkv: approximate q, k and v of attention as one matrix, not one by one.
        correct_bias: give each factorised layer the bias `b + (W − Θ) x̄`, x̄ its mean input (`covariance` has it).
        reestimate_norms: measure the statistics of batch norms anew, with the factors in place.
        target: "weights", or "outputs": the factors approximate the outputs of the dense network from the inputs of
            the compressed one, layer by layer, and biases go with them.
    """

    decomposition: Format
    rank: RankRule
    layers: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["*"])
    min_rank: Annotated[int, Ge(0)] = 1
    normalize: bool = False
    metric: Annotated[Metric | None, AsBefore(None)] = None
    joint_qkv: Annotated[bool, AsBefore(False)] = False
    correct_bias: Annotated[bool, AsBefore(False)] = False
    reestimate_norms: Annotated[bool, AsBefore(False)] = False
    target: Annotated[Literal["weights", "outputs"], AsBefore("weights")] = "weights"

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Raise `ValueError` if no layer can be compressed or the rank rule finds no ranks for such layers."""
        if self.correct_bias and (self.target == "outputs" or isinstance(self.metric, Covariance)):
            other = "target=outputs" if self.target == "outputs" else "metric=covariance"
            raise ValueError(f"correct_bias: {other} corrects biases itself; leave one of both out")
        if self.target == "outputs":
            refuse_unread_metric(self.metric, self.rank)
        if self.reestimate_norms and not has_statistics(network):
            raise ValueError("reestimate_norms: the network has no batch norms with statistics; leave it out")
        refuse_idle_distillation(schedule, schedule.fine_tune.epochs)
        dry_run(self, network, input_shape)
        needs_sites = self.correct_bias or self.target == "outputs"
        sites = prepare_search(self, network, input_shape).sites if needs_sites else {}
        require_no_transposed(sites, "correct_bias" if self.correct_bias else "target")
        if self.correct_bias and not any(site.num_bias for site in sites.values()):
            raise ValueError(f"correct_bias: none of the layers {[*sites]} has a bias; leave it out")
        if self.target == "outputs":
            for name, site in sites.items():
                require_served(self.decomposition, site.weight)
                if (side := site.weight[0].numel()) > MAX_SIDE:
                    raise ValueError(
                        f"target: layer {name} has {side} inputs, and outputs as targets need a moment of at most "
                        f"{MAX_SIDE}; leave it out by method.layers=, or take target=weights"
                    )

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Return the network with the factors of one C step, fine-tuned."""
        network, search, calibration = prepare_copy(self, reference, runner)
        search = calibration.measured(search)
        step = self._repaired(choose_ranks(search, runner), network, search, calibration)
        compressed = with_factors(network, search, step)
        if self.reestimate_norms:
            reestimate_norms(compressed, *calibration.data(), all_reduce)
        untuned = copy_network(compressed)
        violation = step.violation(search.weights)
        train_compressed(compressed, reference, runner.schedule.fine_tune, "fine-tuning", runner)
        return compressed_result(compressed, search, step, violation, untuned=untuned, calibration=calibration)

    def _repaired(self, step: CStep, network: nn.Module, search: RankSearch, calibration: Calibration) -> CStep:
        """Return the C step with the factors that outputs ask for, or with corrected biases, as the options say."""
        if self.target == "outputs":
            ranks = {name: rank for name, rank in step.ranks.items() if rank is not None}
            factors, biases = with_outputs_as_targets(
                network, search.sites, search.format, ranks, *calibration.data(), all_reduce
            )
            compressed = step.compressed | {name: each.to_tensor() for name, each in factors.items()}
            return replace(step, factors=factors, compressed=compressed, biases=biases)
        if self.correct_bias:
            with_bias = {name: site for name, site in search.sites.items() if site.num_bias}
            means = input_means(network, with_bias, *calibration.data(), all_reduce)
            factorised = {name: step.compressed[name] for name in step.factors}
            return replace(step, biases=biases_for(search.sites, factorised, means))
        return step
