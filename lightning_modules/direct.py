"""Direct compression: one C step on the trained weights, then fine-tuning of the factors.

The start of learning-compression [IC20], and with other formats and rank rules the one-shot baselines of the field.

[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, MinLen
from torch import nn

from decompositions.format import Format
from decompositions.rank_search.rule import RankRule
from lightning_modules.method import Compressed, describe_layers, prepare_search, replace_and_fine_tune, try_search
from lightning_modules.progress import say
from lightning_modules.runner import Runner


@dataclass(frozen=True)
class Direct:
    """Decompose once, fine-tune.

    `layers` are name patterns; `min_rank` 0 lets a layer vanish; `normalize` divides squared errors by `‖W‖²` when
    ranks are chosen. The `cost` rule weighs errors with the schedule's first penalty, as learning-compression's start.
    """

    decomposition: Format
    rank: RankRule
    layers: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["*"])
    min_rank: Annotated[int, Ge(0)] = 1
    normalize: bool = False

    def check(self, network: nn.Module, input_shape: Sequence[int]) -> None:
        """Raise `ValueError` if no layer can be compressed or the rank rule finds no ranks for such layers."""
        try_search(self, network, input_shape)

    def compress(self, network: nn.Module, runner: Runner) -> Compressed:
        """One C step, replacement, fine-tuning."""
        network.to(runner.device)
        search = prepare_search(self, network, runner.data.input_shape, lambda: runner.validate(network).top1_percent)
        weights = {name: site.weight.detach() for name, site in search.sites.items()}
        step = search(weights, runner.schedule.penalty.weight(0))
        say(f"ranks {step.ranks}: {step.reason}")
        compressed, structure = replace_and_fine_tune(network, search, step, runner)
        return Compressed(compressed, structure, describe_layers(search, step), step.reason, step.violation(weights))
