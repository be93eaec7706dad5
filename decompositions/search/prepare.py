"""Make a network ready for rank search: find its sites, and count what no rank can change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from decompositions.core.format import ChecksSites, Format
from decompositions.core.site import listed, survey
from decompositions.layers.geometry import LAYER_TYPES
from decompositions.layers.unfuse import unfuse
from decompositions.rank_search.rule import RankRule
from decompositions.search.c_step import RankSearch
from decompositions.search.measure import Probe
from evaluation.counts import count_operators
from evaluation.example import Example
from evaluation.trial import give_shapes


def prepare(
    network: nn.Module,
    example: Example | Sequence[int],
    format: Format,
    rule: RankRule,
    *,
    layers: Sequence[str] = ("*",),
    min_rank: int = 1,
    normalize: bool = False,
    joint_qkv: bool = False,
    dtype: torch.dtype | None = None,
    evaluate: Callable[[], float] | None = None,
) -> RankSearch:
    """Return the rank search of `network`; unfuse, in place, LSTMs, GRUs and attention of which `layers` names a part.

    `example` is what the network gets, or the shape of one sample, of which `dtype` is the type if not that of the
    parameters; `layers` are name patterns; lazy layers get their shapes, in place; `joint_qkv` keeps q, k and v of
    attention one layer. `evaluate` returns the network's accuracy in percent, for rules that measure it. The other
    arguments are those of `RankSearch`. Raises `ValueError` if there is nothing to compress, or if an option of the
    format fits no layer.
    """
    if isinstance(network, LAYER_TYPES):
        raise ValueError("the network is itself a linear or convolution layer; put it into an nn.Sequential")
    example = Example.of(example, network, dtype)
    give_shapes(network, example)
    unfused = unfuse(network, lambda child: any(fnmatchcase(child, pattern) for pattern in layers), joint_qkv)
    if joint_qkv and not any(getattr(module, "joint_qkv", False) for module in network.modules()):  # here, or before
        raise ValueError("joint_qkv: no attention whose inputs have one size is among the layers; leave it out")
    found = survey(network, example, layers, transposed=getattr(format, "serves_transposed", False))
    if not found.sites:
        raise ValueError(f"the network has no layer to compress ({listed(found.skipped)})")
    if isinstance(format, ChecksSites):
        format.check_sites(found.sites)
    operators = count_operators(network, example)
    rest_macs = operators.macs - sum(site.macs for site in found.sites.values())
    if rest_macs < 0:  # a fused kernel skips the padding that the steps of its layers compute
        raise ValueError(
            "the layers of packed sequences cannot be counted one by one; take a padded batch as example input"
        )
    return RankSearch(
        found.sites,
        format,
        rule,
        rest_params=sum(p.numel() for p in network.parameters()) - sum(s.num_params for s in found.sites.values()),
        rest_macs=rest_macs,
        min_rank=min_rank,
        normalize=normalize,
        probe=None if evaluate is None else Probe(network, evaluate),
        skipped=found.skipped,
        unfused=unfused,
        uncounted=operators.uncounted,
    )
