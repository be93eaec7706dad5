"""The one way to call a metric: what is wrong with it, with the network or with the data is said in a line."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from decompositions.core.metric import Batches, Metric, Reduce, SiteMetric, alone
from decompositions.core.options import require_options
from decompositions.core.site import Site
from decompositions.layers.geometry import TRANSPOSED
from evaluation.modes import keeping_buffers

BYTES_OF_A_PASS = 4 * 2**30


def measure(
    metric: Metric,
    network: nn.Module,
    sites: Mapping[str, Site],
    batches: Batches,
    all_reduce: Reduce = alone,
) -> dict[str, SiteMetric]:
    """Return the metric of each site that the calibration data reach; the network is as it was before.

    `all_reduce` sums over the processes that share `batches`, which are batches of inputs or `(inputs, labels)`. Layers
    whose moments are more than `BYTES_OF_A_PASS` together are measured in several passes, and their moments wait in the
    memory of the CPU; data that can be read only once get a single pass.
    Raises `ValueError` for a metric, batches or weights that are none, for one that measures nothing or only zeros, and
    for one that compares layers and leaves some out.
    """
    name = require_metric(metric)
    require_batches(batches)
    require_no_transposed(sites, f"metric {name}")
    for layer, site in sites.items():
        if not bool(site.weight.isfinite().all()):
            raise ValueError(f"layer {layer}: the weight holds NaN or infinite values; its training has diverged")
    found: dict[str, SiteMetric] = {}
    groups = [sites] if isinstance(batches, Iterator) else _groups(sites, getattr(metric, "max_side", 0))
    for group in groups:
        with keeping_buffers(network):
            measured = metric.measure(network, group, batches, all_reduce)
        _require_metrics(name, measured, group)
        found |= {layer: each.to("cpu") for layer, each in measured.items()} if len(groups) > 1 else measured
    missing = [layer for layer in sites if layer not in found]
    if getattr(metric, "compares_layers", False) and missing:
        raise ValueError(
            f"metric {name}: the loss has no gradient for {_layers(missing)}, whose errors it cannot compare with "
            "others; leave what has no part in the loss out by layers=, or take metric=gram"
        )
    if not found:
        raise ValueError(f"metric {name}: found nothing to measure at {_layers([*sites])}; take metric=identity")
    if all(each.is_zero for each in found.values()):
        raise ValueError(
            f"metric {name}: every error counts as zero, at {_layers([*found])}; look whether the loss depends on the "
            "labels and the layers get inputs other than zero"
        )
    return found


def require_metric(metric: Any) -> str:
    """Return the name of a metric; raise `ValueError` for what is none, or has options outside their ranges."""
    if isinstance(metric, type) or not isinstance(metric, Metric):
        given = f"the class {metric.__name__}" if isinstance(metric, type) else repr(metric)
        raise ValueError(f"metric: expected one such as decompositions.metrics.gram.Gram(), got {given}")
    name = type(metric).__name__
    try:
        inspect.signature(metric.measure).bind(None, {}, [], alone)
    except TypeError as error:
        raise ValueError(
            f"metric {name}: measure takes (network, sites, batches, all_reduce), see core.metric.Metric: {error}"
        ) from None
    require_options(metric, f"metric {name}")
    return name


def require_batches(batches: Any) -> None:
    """Raise `ValueError` for what holds no batches: a tensor or a dataset would be read sample by sample."""
    dataset = isinstance(batches, Dataset) and not isinstance(batches, IterableDataset)
    if isinstance(batches, Tensor | str) or dataset or not isinstance(batches, Iterable):
        raise ValueError(
            "metric: expected calibration data as batches, such as a DataLoader or a list of (inputs, labels), got a "
            f"{type(batches).__name__}"
        )


def _require_metrics(name: str, found: Any, sites: Mapping[str, Site]) -> None:
    if not isinstance(found, Mapping) or not all(isinstance(each, SiteMetric) for each in found.values()):
        raise ValueError(f"metric {name}: expected measure to return a SiteMetric for each layer name, got {found!r}")
    if unknown := [layer for layer in found if layer not in sites]:
        raise ValueError(f"metric {name}: expected some of {_layers([*sites])}, got {_layers(unknown)}")
    for layer, each in found.items():
        try:
            each.require_fits(sites[layer].weight)
        except ValueError as error:
            raise ValueError(f"layer {layer}: {error}") from None


def _groups(sites: Mapping[str, Site], max_side: int) -> list[dict[str, Site]]:
    """Part the sites, in their order, so that the moments of a group have `BYTES_OF_A_PASS` or belong to one layer."""
    groups, left = list[dict[str, Site]](), 0.0
    for name, site in sites.items():
        num_bytes = 8 * sum(min(side, max_side) ** 2 for side in (len(site.weight), site.weight[0].numel()))
        if not groups or num_bytes > left:
            groups, left = [*groups, {}], BYTES_OF_A_PASS
        groups[-1][name], left = site, left - num_bytes
    return groups


def _layers(names: list[str]) -> str:
    return f"layer {names[0]}" if len(names) == 1 else f"layers {names}"


def require_no_transposed(sites: Mapping[str, Site], who: str) -> None:
    """Raise `ValueError` for transposed convolutions, whose inputs no metric measures."""
    if found := [name for name, site in sites.items() if isinstance(site.layer, TRANSPOSED)]:
        raise ValueError(
            f"{who}: the inputs of transposed convolutions are not measured; leave {_layers(found)} out by layers=, or "
            "take metric=identity"
        )
