"""Training from scratch: a network that is factorised from its start, as the first tensor trains were [NPOV15, GPNV16].

The rank rule chooses the ranks for the trained reference, so that a budget means the same as with the other methods;
the factors and the layers that stay dense start at random. With the format `ntt` this is the nonlinear tensor train
[WZCLDL21], a reconstruction: the paper's text is not at hand.

[NPOV15] Novikov, Podoprikhin, Osokin & Vetrov, Tensorizing neural networks, NIPS 2015.
[GPNV16] Garipov, Podoprikhin, Novikov & Vetrov, Ultimate tensorization, arXiv:1611.03214, 2016.
[WZCLDL21] Wang et al., Nonlinear tensor train format for deep neural network compression, Neural Networks 144, 2021.
[YKT17] Yang, Krompass & Tresp, Tensor-train recurrent neural networks for video classification, ICML 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, MinLen
from torch import nn

from decompositions.core.format import Format
from decompositions.core.metric import Metric
from decompositions.layers.base import Factored, initialise
from decompositions.layers.glorot import glorot
from decompositions.network.structure import describe, restore
from decompositions.rank_search.rule import RankRule
from lightning_modules.core.dry_run import dry_run, refuse_idle_distillation, refuse_unread_metric
from lightning_modules.core.method import Compressed, choose_ranks, compressed_result, prepare_copy, train_compressed
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Schedule
from runtime.identity import AsBefore


@dataclass(frozen=True)
class Scratch:
    """Factorise an untrained network and train it for the schedule's phase `from_scratch`.

    With `start="variance"` a factorised layer keeps the variance of its input, times `gain²`: √2 suits ReLU, 1 suits
    tanh. With "glorot_cores" [GPNV16] or "glorot_layer" [YKT17] its factors have Glorot's (see `layers.glorot`), and
    `gain`, 1 with these authors, multiplies the output. The other options are those of `direct.Direct`.
    """

    decomposition: Format
    rank: RankRule
    layers: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["*"])
    min_rank: Annotated[int, Ge(1)] = 1
    normalize: bool = False
    gain: Annotated[float, Gt(0)] = 2**0.5
    metric: Annotated[Metric | None, AsBefore(None)] = None
    joint_qkv: Annotated[bool, AsBefore(False)] = False
    start: Annotated[Literal["variance", "glorot_cores", "glorot_layer"], AsBefore("variance")] = "variance"

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Raise `ValueError` if no layer can be compressed or the rank rule finds no ranks for such layers."""
        refuse_idle_distillation(schedule, schedule.from_scratch.epochs)
        refuse_unread_metric(self.metric, self.rank)
        dry_run(self, network, input_shape)

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Return a new network with the ranks that are chosen for the reference, trained from random factors."""
        _, search, calibration = prepare_copy(self, reference, runner)
        search = calibration.measured(search)
        step = choose_ranks(search, runner)
        network = restore(runner.untrained(), describe(search.format, step.ranks, search.unfused))
        self._start(network)
        train_compressed(
            network.to(runner.device), reference, runner.schedule.from_scratch, "training from scratch", runner
        )
        return compressed_result(network, search, step, calibration=calibration)

    def _start(self, network: nn.Module) -> None:
        """Draw the factors of all compressed layers."""
        names = initialise(network, self.gain)
        for name in names if self.start != "variance" else ():
            layer = network.get_submodule(name)
            assert isinstance(layer, Factored)
            glorot(layer, "cores" if self.start == "glorot_cores" else "layer", self.gain)
