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
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, MinLen
from torch import nn

from decompositions.core.format import Format
from decompositions.rank_search.rule import RankRule
from lightning_modules.core.dry_run import dry_run, refuse_idle_distillation
from lightning_modules.core.method import (
    Compressed,
    choose_ranks,
    compressed_result,
    prepare_copy,
    train_compressed,
    with_factors,
)
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Schedule


@dataclass(frozen=True)
class Direct:
    """Decompose once, then fine-tune.

    The `cost` rule weighs errors with the schedule's first penalty, as at the start of learning-compression.

    Args:
        decomposition: the format of the factors.
        rank: the rule that chooses the ranks.
        layers: name patterns of the layers to compress.
        min_rank: the smallest rank allowed; 0 allows to remove a layer's weight.
        normalize: divide squared errors by `‖W‖²` when ranks are chosen.
    """

    decomposition: Format
    rank: RankRule
    layers: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["*"])
    min_rank: Annotated[int, Ge(0)] = 1
    normalize: bool = False

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Raise `ValueError` if no layer can be compressed or the rank rule finds no ranks for such layers."""
        refuse_idle_distillation(schedule, schedule.fine_tune.epochs)
        dry_run(self, network, input_shape)

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Return the network with the factors of one C step, fine-tuned."""
        network, search = prepare_copy(self, reference, runner)
        step = choose_ranks(search, runner)
        compressed = with_factors(network, search, step)
        train_compressed(compressed, reference, runner.schedule.fine_tune, "fine-tuning", runner)
        return compressed_result(compressed, search, step, step.violation(search.weights))
