"""A rank search that several processes share: the bits of one, each layer computed once, failures told to all."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn

from decompositions.cp import CP
from decompositions.cur import CUR
from decompositions.rank_search.accuracy import Accuracy
from decompositions.rank_search.budget import Budget
from decompositions.rank_search.vbmf import VBMF
from decompositions.search.c_step import RankSearch
from decompositions.search.measure import Probe
from decompositions.search.parallel import cost, owners
from decompositions.search.prepare import prepare
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker2 import Tucker2


@dataclass
class Threads:
    """Threads in the place of processes: `gathered` waits until all have come."""

    rank: int
    size: int
    barrier: threading.Barrier
    boxes: list = field(repr=False)

    def all_gather(self, value):
        self.boxes[self.rank] = value
        self.barrier.wait()
        values = list(self.boxes)
        self.barrier.wait()
        return values


def together(size, run):
    """Return what `run` returns in each of `size` threads, or the exception it raises."""
    barrier, boxes = threading.Barrier(size, timeout=600), [None] * size

    def one(rank):
        try:
            return run(Threads(rank, size, barrier, boxes))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def network() -> nn.Module:
    torch.manual_seed(0)
    convolutions = (nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 16, 3), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*convolutions, nn.Linear(64, 40), nn.Tanh(), nn.Linear(40, 24), nn.Linear(24, 5))


def search(format, rule, **options) -> RankSearch:
    return prepare(network(), (3, 6, 6), format, rule, **options)


def bits(step):
    return step.ranks, step.costs, step.dense_reasons, {n: t.numpy().tobytes() for n, t in step.compressed.items()}


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize(
    ("format", "rule"),
    [(SVD(), Budget(0.4)), (CUR(), Budget(0.5)), (Tucker2(), VBMF()), (TT(), Budget(0.4)), (CP(sweeps=3), Budget(0.6))],
    ids=lambda part: type(part).__name__.lower(),
)
def test_the_bits_of_one_process(format, rule, size):
    alone = search(format, rule, normalize=True)
    expected = bits(alone(alone.weights, 0.3))
    assert sum(rank is not None for rank in expected[0].values()) > 1

    def run(processes):
        return bits(replace(alone, processes=processes)(alone.weights, 0.3))

    assert together(size, run) == [expected] * size


def test_each_layer_is_computed_once(monkeypatch):
    analysed, decomposed = Counter(), Counter()
    analyse, analysis = SVD.analyse, type(SVD().analyse(torch.ones(2, 2)))
    decompose = analysis.decompose
    monkeypatch.setattr(SVD, "analyse", lambda self, w: analysed.update([tuple(w.shape)]) or analyse(self, w))
    monkeypatch.setattr(
        analysis, "decompose", lambda self, r: decomposed.update([(tuple(self.weight.shape), r)]) or decompose(self, r)
    )
    asked = Counter()

    class Counting(Probe):
        def accuracy_percent(self, layers):
            asked.update([threading.get_ident()])
            return 100.0 - 1e-2 * sum(320 // layer[0].weight.shape[0] for layer in layers.values())

    base = search(SVD(), Accuracy(5.0))

    def run(processes):
        probe = Counting(nn.Identity(), lambda: 100.0)
        return bits(replace(base, processes=processes, probe=probe)(base.weights, 0.3))

    first, second = together(2, run)
    assert isinstance(first, tuple), first
    assert first == second
    assert len(asked) == 2, "every probe is asked by both"
    assert len(set(asked.values())) == 1 < min(asked.values())
    assert set(analysed.values()) == {1}
    assert len(analysed) == 5
    assert set(decomposed.values()) == {1}


def test_a_failure_is_told_to_all():
    base = search(SVD(), Budget(0.5))
    weights = base.weights | {"2": base.weights["2"] * torch.nan}
    for error in together(3, lambda processes: replace(base, processes=processes)(weights, 1.0)):
        assert isinstance(error, ValueError)
        assert str(error).startswith("layer 2: the weight holds NaN")


def test_other_errors_are_told_too(monkeypatch):
    def broken(self, weight):
        raise MemoryError("no room")

    monkeypatch.setattr(SVD, "analyse", broken)
    base = search(SVD(), Budget(0.5))
    errors = together(2, lambda processes: replace(base, processes=processes)(base.weights, 1.0))
    assert [type(error) for error in errors] == [MemoryError, MemoryError]


def test_the_largest_layers_go_to_different_processes():
    sizes = [(512, 4608)] * 5 + [(512, 2304), (256, 2304), (256, 2304), (256, 1152), (64, 27), (512, 512), (512, 512)]
    weights = {str(number): torch.empty(size, device="meta") for number, size in enumerate(sizes)}
    assert set(owners(weights, 1).values()) == {0}
    for num in (2, 3, 4):
        owner = owners(weights, num)
        loads = [sum(cost(weights[name]) for name in weights if owner[name] == rank) for rank in range(num)]
        assert max(loads) < 1.25 * sum(loads) / num
    assert len(set(owners(weights, 64).values())) == len(weights)
