"""Compress a network in one call, without a configuration and without training.

    from decompositions import compress
    from decompositions.tucker2 import Tucker2

    small, report = compress(model, Tucker2(), budget=0.3, example_input=torch.randn(1, 3, 224, 224))
    print(report)

Fine-tune `small` as any other module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import index
from typing import Any, Literal

from torch import Tensor, nn

from decompositions.core.format import Format
from decompositions.core.frontier import Rank
from decompositions.core.metric import Batches, Metric, SiteMetric
from decompositions.metrics.measure import measure, require_batches, require_metric
from decompositions.network.structure import Structure, describe, note_structure, replace_layers
from decompositions.rank_search.budget import Budget
from decompositions.rank_search.fixed import Fixed
from decompositions.rank_search.rule import RankRule
from decompositions.search.c_step import CStep, RankSearch
from decompositions.search.prepare import prepare
from evaluation.example import Example
from evaluation.modes import device_of
from evaluation.trial import require_called
from runtime.copies import copy_network

# How rank rules name what is an argument here.
IN_PYTHON = {
    "rank.share": "budget", "rank.ranks": "ranks", "method.layers": "layers", "method.min_rank": "min_rank",
}  # fmt: skip


@dataclass(frozen=True)
class LayerReport:
    """One layer: its rank (None: dense, and `reason` says why), its counts after and before, and its relative error.

    `relative_error` is `‖W − Ŵ‖² / ‖W‖²`, in the metric; for a nonlinear tensor train that of its train without
    activations. The multiply-adds of a layer that is no site are None; those of the network include them.
    """

    name: str
    rank: Rank | None
    relative_error: float
    num_params: int
    macs: int | None
    dense_params: int
    dense_macs: int | None
    reason: str | None


@dataclass(frozen=True)
class CompressionReport:
    """Every linear and convolution layer after compression; parameters and multiply-adds of the whole network.

    `rank_reason` says how the ranks were chosen. Pass `structure` to `save_network`: it has what earlier calls
    replaced, too. `uncounted` names operators that may multiply and have no formula.
    """

    layers: tuple[LayerReport, ...]
    num_params: int
    macs: int
    dense_params: int
    dense_macs: int
    rank_reason: str
    structure: Structure
    uncounted: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Format a table with one line for each layer."""
        lines = [f"{'layer':<28} {'rank':>14} {'error':>8} {'parameters':>23} {'MACs':>29}"]
        for layer in self.layers:
            rank = "dense" if layer.rank is None else str(layer.rank)
            params = f"{layer.dense_params:>11,} {layer.num_params:>11,}"
            macs = " ".join(f"{'' if count is None else f'{count:,}':>14}" for count in (layer.dense_macs, layer.macs))
            error = f"{layer.relative_error:8.4f}"
            lines.append(f"{layer.name:<28} {rank:>14} {error} {params} {macs}  {layer.reason or ''}".rstrip())
        total = f"{self.dense_params:>11,} {self.num_params:>11,} {self.dense_macs:>14,} {self.macs:>14,}"
        lines.append(f"{'network':<28} {'':>14} {'':>8} {total}")
        notes = [f"counted as nothing, for want of a formula: {', '.join(self.uncounted)}"] if self.uncounted else []
        return "\n".join([*lines, self.rank_reason, *notes])


def compress(
    model: nn.Module,
    format: Format,
    *,
    example_input: Tensor | tuple[Any, ...] | dict[str, Any] | Example,
    budget: float | None = None,
    ranks: int | Sequence[int] | Mapping[str, int | Sequence[int]] | None = None,
    rule: RankRule | None = None,
    of: Literal["params", "macs"] = "params",
    layers: Sequence[str] = ("*",),
    min_rank: int = 1,
    normalize: bool | None = None,
    joint_qkv: bool = False,
    evaluate: Callable[[nn.Module], float] | None = None,
    metric: Metric | None = None,
    calibration: Batches | None = None,
) -> tuple[nn.Module, CompressionReport]:
    """Return a compressed copy of `model`, in its mode, on its device, and the report of its layers.

    `example_input` is a batch `(batch, …)`, a tuple of the network's arguments, or a dict of named ones; of tensors
    only shapes and types are read, where the network needs no values. MACs are of one sample: each tensor with as many
    samples as the first is cut to one; `Example((x,), batch_axis=1)` says where they are counted, None nowhere. Give
    exactly one of

    - `budget`: the share of the whole network's parameters or multiply-adds (`of`) that may remain;
    - `ranks`: an int, one int for each mode, or a mapping of name patterns to these;
    - `rule`: any rank rule.

    `layers` are name patterns; the weights of an LSTM or GRU `rnn` are the layers `rnn.ih_l0`, `rnn.hh_l0`, …,
    those of attention `attention.q`, `.k`, `.v`, `.out_proj`, or with `joint_qkv` `attention.qkv`, `.out_proj`. No rank
    is below `min_rank`. `normalize` measures errors relative to each weight's squared norm when ranks are
    chosen; None does so unless the metric compares layers by itself. `evaluate` returns the
    accuracy of a model on validation data in percent, for a rule that measures it. `metric` says which errors matter,
    measured on `calibration`: batches of inputs, or `(inputs, labels)`, of the training data; without one all weights
    count alike.
    Raises `ValueError` if an argument is wrong, no layer can be compressed, or no ranks meet the budget.

    >>> import torch
    >>> from decompositions.svd import SVD
    >>> model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    >>> small, report = compress(model, SVD(), ranks={"0": 2}, example_input=torch.zeros(1, 8))
    >>> small[0]
    FactoredSequential(
      (0): Linear(in_features=8, out_features=2, bias=False)
      (1): Linear(in_features=2, out_features=6, bias=True)
    )
    >>> report.dense_params, report.num_params
    (82, 62)
    """
    if isinstance(format, type) or not isinstance(format, Format):
        given = f"the class {format.__name__}" if isinstance(format, type) else repr(format)
        raise ValueError(f"compress: expected a format such as decompositions.svd.SVD(), got {given}")
    if sum(choice is not None for choice in (budget, ranks, rule)) != 1:
        raise ValueError("compress: expected exactly one of budget, ranks and rule")
    if budget is not None and (isinstance(budget, bool | str) or not 0 < budget <= 1):
        raise ValueError(f"compress: budget is the share that may remain, above 0 and up to 1, got {budget!r}")
    if of not in ("params", "macs"):
        raise ValueError(f"compress: of is 'params' or 'macs', got {of!r}")
    if isinstance(layers, str):
        raise ValueError(f"compress: layers is a list of name patterns, got the string {layers!r}")
    if not isinstance(min_rank, int) or min_rank < 0:
        raise ValueError(f"compress: min_rank is an integer of at least 0, got {min_rank!r}")
    if normalize is None:
        normalize = not getattr(metric, "compares_layers", False)
    if metric is not None:
        require_metric(metric)
    needs_data = metric is not None and getattr(metric, "needs_data", True)
    if needs_data != (calibration is not None):
        given = "none" if calibration is None else "some"
        wanted = f"calibration data for {type(metric).__name__}" if needs_data else "no calibration data"
        raise ValueError(f"compress: expected {wanted}, got {given}")
    if calibration is not None:
        require_batches(calibration)
    if budget is not None:
        rule = Budget(budget, of)
    elif ranks is not None:
        rule = Fixed(_plain(ranks))
    assert rule is not None
    model = copy_network(model)
    example = Example.of(example_input, model)
    search = prepare(
        model,
        example,
        format,
        rule,
        layers=layers,
        min_rank=min_rank,
        normalize=normalize,
        joint_qkv=joint_qkv,
        evaluate=None if evaluate is None else partial(evaluate, model),
    )
    if metric is not None:
        if len(example.args) != 1 or example.kwargs or not isinstance(example.args[0], Tensor):
            raise ValueError("compress: a metric takes a model of one input tensor; leave metric= out")
        read = [example.to(device_of(model)).args] if calibration is None else calibration
        batches: Batches = _CheckedBatches(example.args[0], read)
        if isinstance(calibration, Iterator):  # then a second pass would find nothing
            batches = iter(batches)
        search = replace(search, metrics=measure(metric, model, search.sites, batches))
    step = _searched(search)
    compressed = replace_layers(model, format, step.factors, step.biases)
    require_called(compressed, step.factors, example)
    structure = note_structure(compressed, describe(search.format, step.ranks, search.unfused))
    return compressed, _report(model, search, step, structure)


def _searched(search: RankSearch) -> CStep:
    """Make the C step; what rank rules say of the keys of a configuration is said of the arguments of `compress`."""
    try:
        return search(search.weights, penalty=1.0)
    except ValueError as error:
        said = str(error)
        for key, argument in IN_PYTHON.items():
            said = said.replace(key, argument)
        raise ValueError(said) from error


@dataclass(frozen=True)
class _CheckedBatches:
    """Batches that are checked as they are read."""

    example: Tensor
    batches: Batches

    def __iter__(self) -> Iterator[Any]:
        """Raise `ValueError` for inputs with another number of axes than the example, such as single samples."""
        for batch in self.batches:
            inputs = batch[0] if isinstance(batch, tuple | list) and batch else batch
            if isinstance(inputs, Tensor) and inputs.ndim != self.example.ndim:
                raise ValueError(
                    f"compress: expected calibration batches like the example input, {tuple(self.example.shape)}, got "
                    f"inputs of shape {tuple(inputs.shape)}"
                )
            yield batch


def _report(model: nn.Module, search: RankSearch, step: CStep, structure: Structure) -> CompressionReport:
    rows = []
    for name, site in search.sites.items():
        weight, cost = site.weight.detach(), step.costs[name]
        metric = step.metrics.get(name, SiteMetric())
        norm = metric.squared_error(weight)
        error = metric.squared_error(weight.double() - step.compressed[name].double()) / norm if norm else 0.0
        reason = step.dense_reasons.get(name)
        rows.append(
            LayerReport(name, step.ranks[name], error, cost["params"], cost["macs"], site.num_params, site.macs, reason)
        )
    for name, reason in search.skipped.items():
        num_params = sum(parameter.numel() for parameter in model.get_submodule(name).parameters())
        rows.append(LayerReport(name, None, 0.0, num_params, None, num_params, None, reason))
    order = {name: position for position, (name, _) in enumerate(model.named_modules())}
    return CompressionReport(
        tuple(sorted(rows, key=lambda row: order[row.name])),
        search.rest_params + sum(cost["params"] for cost in step.costs.values()),
        search.rest_macs + sum(cost["macs"] for cost in step.costs.values()),
        search.rest_params + sum(site.num_params for site in search.sites.values()),
        search.rest_macs + sum(site.macs for site in search.sites.values()),
        step.choice.reason,
        structure,
        search.uncounted,
    )


def _plain(
    ranks: int | Sequence[int] | Mapping[str, int | Sequence[int]],
) -> int | list[int] | dict[str, int | list[int]]:
    if isinstance(ranks, Mapping):
        return {str(pattern): _plain_rank(rank) for pattern, rank in ranks.items()}
    return _plain_rank(ranks)


def _plain_rank(rank: int | Sequence[int]) -> int | list[int]:
    """Convert any kind of integer, or sequence of them, to plain ints; else raise `ValueError`."""
    try:
        return [index(mode) for mode in rank] if isinstance(rank, Sequence) else index(rank)
    except TypeError:
        raise ValueError(f"compress: a rank is an int or a list of ints, got {rank!r}") from None
