"""Merging compressed layers into dense ones where that is faster."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import nn

from decompositions import compress, materialize
from decompositions.ntt import NTT
from decompositions.svd import SVD
from decompositions.tt import TT


def compressed_network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)).eval()
    x = torch.randn(4, 64)
    small, _ = compress(model, TT(), ranks={"0": 3, "2": 3}, example_input=x)
    small[4] = compress(nn.Sequential(model[4]), NTT(), ranks=3, example_input=x)[0][0]
    return small, x


@pytest.mark.parametrize("faster", ["factored", "dense"])
def test_layers_are_merged_where_the_clock_says_so(monkeypatch, faster):
    network, x = compressed_network()
    times = [1.0, 2.0] if faster == "factored" else [2.0, 1.0]
    measured = []

    def clock(layers, batch):
        measured.append((layers, batch.shape))
        return times

    monkeypatch.setattr(importlib.import_module("decompositions.network.materialize"), "measure_latency_ms", clock)
    merged, report = materialize(network, x)
    assert [type(network[i]).__name__ for i in (0, 2, 4)] == ["TTLinear", "TTLinear", "NTTLinear"], (
        "the copy was changed"
    )
    kind = nn.Linear if faster == "dense" else type(network[0])
    assert isinstance(merged[0], kind)
    assert isinstance(merged[2], kind)
    assert not isinstance(merged[4], nn.Linear), "nonlinear"
    assert torch.allclose(merged(x), network(x), atol=1e-5)
    assert [merge.merged for merge in report] == [faster == "dense"] * 2 + [False]
    assert "nonlinear" in str(report[2])
    assert "2 ms" in str(report[0])
    assert [shape for _, shape in measured] == [(4, 64), (4, 64)]


def test_modes_training_and_unused_layers():
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32)).train()
    network, _ = compress(model, SVD(), ranks=2, example_input=torch.randn(2, 32))
    merged, _ = materialize(network, torch.randn(2, 32))
    assert network.training
    assert merged.training

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = network[0], network[1]

        def forward(self, x):
            return self.used(x)

    network[1].eval()
    merged, _ = materialize(network, torch.randn(2, 32))
    assert [module.training for module in merged] == [True, False], "a frozen part stays frozen"
    with pytest.raises(ValueError, match="put it into an nn"):
        materialize(network[0], torch.randn(2, 32))
    _, report = materialize(Half(), torch.randn(2, 32))
    assert {merge.name: merge.reason for merge in report} == {"used": None, "unused": "not used in this pass"}
