"""Make a network ready for rank search: find its sites, and count what no rank can change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from decompositions.core.format import Format
from decompositions.core.site import survey
from decompositions.layers.geometry import LAYER_TYPES
from decompositions.layers.unfuse import unfuse_recurrent
from decompositions.rank_search.rule import RankRule
from decompositions.search.c_step import RankSearch
from decompositions.search.measure import Probe
from evaluation.counts import count_macs


def prepare(
    network: nn.Module,
    input_shape: Sequence[int],
    format: Format,
    rule: RankRule,
    *,
    layers: Sequence[str] = ("*",),
    min_rank: int = 1,
    normalize: bool = False,
    dtype: torch.dtype | None = None,
    evaluate: Callable[[], float] | None = None,
) -> RankSearch:
    """Return the rank search of `network`; the LSTMs and GRUs that `layers` reaches into are opened in place.

    `input_shape` is that of one sample, `dtype` its type if not that of the parameters; `evaluate` returns the
    network's accuracy in percent, for rules that measure it. Raises `ValueError` if there is nothing to compress.
    """
    if isinstance(network, LAYER_TYPES):
        raise ValueError("the network is itself a linear or convolution layer; put it into an nn.Sequential")
    opened = unfuse_recurrent(network, lambda child: any(fnmatchcase(child, pattern) for pattern in layers))
    found = survey(network, input_shape, layers, dtype)
    refused = {name: why for name, site in found.sites.items() if (why := format.refuses(site.layer))}
    sites = {name: site for name, site in found.sites.items() if name not in refused}
    skipped = found.skipped | refused
    if not sites:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise ValueError(f"the network has no layer to compress ({reasons})")
    return RankSearch(
        sites,
        format,
        rule,
        rest_params=sum(p.numel() for p in network.parameters()) - sum(site.num_params for site in sites.values()),
        rest_macs=count_macs(network, input_shape, dtype) - sum(site.macs for site in sites.values()),
        min_rank=min_rank,
        normalize=normalize,
        probe=None if evaluate is None else Probe(network, evaluate),
        skipped=skipped,
        opened=tuple(opened),
    )
