"""How long a layer takes at a rank, measured on the device that holds it: what the `latency` rank rule counts.

Times are kept for as long as the process lives: the same layer at the same rank is measured once, whatever its weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from decompositions.format import Format
from decompositions.frontier import Rank
from decompositions.site import Call, Site
from evaluation.latency import measure_latency_ms

_measured: dict[tuple[object, ...], float] = {}


def layer_latency_ms(format: Format, site: Site, ranks: Sequence[Rank | None], batch_size: int) -> list[float]:
    """Milliseconds that one pass of `batch_size` samples spends in the layer at each rank (None: dense).

    The candidates run in turn on random numbers of the shapes that the layer meets (see `evaluation.latency`).
    """
    weight = site.weight
    place = torch.cuda.get_device_name(weight.device) if weight.is_cuda else torch.get_num_threads()
    about = (place, str(weight.dtype), repr(format), repr(site.layer), site.calls, batch_size)
    missing = [rank for rank in dict.fromkeys(ranks) if (*about, rank) not in _measured]
    if missing:
        layers = [
            site.layer if rank is None else format.layer(site.layer, format.zeros(weight.detach(), rank))
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
    """The input of one call for a batch: sizes of a linear layer already begin with those of one sample."""
    before, num_in = call[0], site.weight.shape[1]
    if site.weight.ndim > 2:
        return (batch_size, num_in, *before)
    return (batch_size * before[0], *before[1:], num_in) if before else (num_in,)
