"""Recurrent layers of torch and unfused ones of equal weights, and how their results are compared."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from decompositions.layers.unfuse import unfuse_recurrent

TIME, BATCH, IN, HIDDEN = 6, 4, 3, 5
KINDS = pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])


def pair(kind, stepwise=False, dtype=torch.float64, **options) -> tuple[nn.Module, nn.Module]:
    """A layer and an unfused one of equal weights; a hook forces the latter's step-by-step pass."""
    layer = kind(IN, HIDDEN, dtype=dtype, **options)
    holder = nn.ModuleList([copy.deepcopy(layer)])
    assert unfuse_recurrent(holder) == ["0"]
    if stepwise:
        holder[0].hh_l0.register_forward_hook(lambda *_: None)
    return layer, holder[0]


def compressed(unfused: nn.Module) -> nn.Module:
    """The unfused layer with two linear layers in the place of each, of the same product."""
    unfused = copy.deepcopy(unfused)
    for name, child in list(unfused.named_children()):
        first = nn.Linear(child.in_features, child.in_features, bias=False, dtype=child.weight.dtype)
        second = nn.Linear(child.in_features, child.out_features, child.bias is not None, dtype=child.weight.dtype)
        second.weight.data = child.weight.data @ first.weight.data.inverse()
        if child.bias is not None:
            second.bias.data = child.bias.data
        unfused.set_submodule(name, nn.Sequential(first, second))
    return unfused


def states(layer, batch: int | None = BATCH, dtype=torch.float64):
    num = layer.num_layers * (1 + layer.bidirectional)
    sizes = [layer.proj_size or HIDDEN, HIDDEN] if layer.mode == "LSTM" else [HIDDEN]
    made = tuple(torch.randn(num, *([] if batch is None else [batch]), size, dtype=dtype) for size in sizes)
    return made if layer.mode == "LSTM" else made[0]


def tensors(result) -> list[torch.Tensor]:
    """All tensors of a result, in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    return [tensor for part in result if part is not None for tensor in tensors(part)]


def assert_same(result, expected, tolerance=1e-12):
    assert type(result) is type(expected)
    assert [type(part) for part in result] == [type(part) for part in expected]
    for ours, theirs in zip(tensors(result), tensors(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


class Classifier(nn.Module):
    """A network as they are written: it reads the options of its recurrent layer and flattens the weights."""

    def __init__(self, kind=nn.LSTM, **options) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"rnn": kind(IN, HIDDEN, batch_first=True, **options)})
        self.head = nn.Linear(HIDDEN * (1 + self.body["rnn"].bidirectional), 2)

    def forward(self, x):
        rnn = self.body["rnn"]
        rnn.flatten_parameters()
        h = x.new_zeros(rnn.num_layers * (1 + rnn.bidirectional), x.shape[0], rnn.hidden_size)
        output, _ = rnn(x, (h, h) if rnn.mode == "LSTM" else h)
        return self.head(output[:, -1])
