"""Measurements for rank rules: the accuracy of a network with some layers replaced, the latency of a layer at a rank.

A layer at a rank is timed once in the life of the process, whatever its weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from decompositions.core.format import Format
from decompositions.core.frontier import Rank
from decompositions.core.site import Call, Site
from decompositions.core.transposed import layer_in_place_of
from decompositions.layers.geometry import TRANSPOSED
from decompositions.layers.stand_in import take_place
from evaluation.latency import measure_latency_ms


@dataclass(frozen=True)
class Probe:
    """A network whose accuracy can be measured: `evaluate` returns it, in percent, on validation data."""

    network: nn.Module
    evaluate: Callable[[], float]

    @cached_property
    def reference_percent(self) -> float:
        """Return the accuracy of the network when this was first read: do so before anything is trained or replaced."""
        return self._evaluated()

    def accuracy_percent(self, layers: Mapping[str, nn.Module]) -> float:
        """Measure the accuracy with `layers` in place of the layers of these names, which are then put back."""
        dense = {name: self.network.get_submodule(name) for name in layers}
        try:
            for name, layer in layers.items():
                take_place(self.network, name, layer.train(dense[name].training))
            return self._evaluated()
        finally:
            for name, layer in dense.items():
                self.network.set_submodule(name, layer)

    def _evaluated(self) -> float:
        """Call `evaluate`, restore the modules' modes; raises `ValueError` unless it returns a finite number."""
        modes = {module: module.training for module in self.network.modules()}
        try:
            percent = self.evaluate()
        finally:
            for module, mode in modes.items():
                module.training = mode
        if not isinstance(percent, int | float) or not math.isfinite(percent):
            raise ValueError(f"evaluate: expected the accuracy in percent, a finite number, got {percent!r}")
        return float(percent)


_measured: dict[tuple[object, ...], float] = {}


def layer_latency_ms(format: Format, site: Site, ranks: Sequence[Rank | None], batch_size: int) -> list[float]:
    """Measure the milliseconds that a pass of `batch_size` samples spends in the layer at each rank (None: dense).

    The candidates run in turn on random inputs of the layer's shapes (see `evaluation.latency`).
    """
    weight = site.weight
    place = torch.cuda.get_device_name(weight.device) if weight.is_cuda else torch.get_num_threads()
    about = (place, str(weight.dtype), repr(format), repr(site.layer), site.calls, batch_size)
    missing = [rank for rank in dict.fromkeys(ranks) if (*about, rank) not in _measured]
    if missing:
        layers = [
            site.layer if rank is None else layer_in_place_of(format, site.layer, format.zeros(weight.detach(), rank))
            for rank in missing
        ]
        totals = [0.0] * len(layers)
        for call, times in Counter(site.calls).items():
            batch = torch.randn(_input_shape(site, call, batch_size), dtype=weight.dtype, device=weight.device)
            for index, milliseconds in enumerate(measure_latency_ms(layers, batch)):
                totals[index] += times * milliseconds
        _measured.update({(*about, rank): total for rank, total in zip(missing, totals, strict=True)})
    return [_measured[*about, rank] for rank in ranks]


def _input_shape(site: Site, call: Call, batch_size: int) -> tuple[int, ...]:
    """Return the input shape of one call for a batch; the leading sizes of a linear layer are those of one sample."""
    before, num_in = call[0], site.weight.shape[1]
    if isinstance(site.layer, TRANSPOSED):  # its call is that of the convolution whose adjoint it is
        return (batch_size, site.weight.shape[0], *call[1])
    if site.weight.ndim > 2:
        return (batch_size, num_in, *before)
    return (batch_size * before[0], *before[1:], num_in) if before else (num_in,)
