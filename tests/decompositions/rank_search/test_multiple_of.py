"""`rank.multiple_of`: frontiers of multiples alone, for every format, and every rule that chooses among them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
import yaml
from hydra.utils import instantiate
from torch import nn

from decompositions import compress
from decompositions.core.frontier import as_rank
from decompositions.core.metric import SiteMetric
from decompositions.core.whitening import analyse_in
from decompositions.cp import CP
from decompositions.rank_search.budget import Budget
from decompositions.rank_search.fixed import Fixed
from decompositions.rank_search.rule import RankProblem
from decompositions.rank_search.vbmf import VBMF
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker2 import Tucker2
from tests.conftest import ROOT
from tests.decompositions.test_format_contract import FORMATS
from tests.decompositions.weights import site_of, weight_of

RULES = sorted((ROOT / "conf" / "rank").glob("*.yaml"))


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("shape", [(20, 24), (16, 12, 3, 3)], ids=str)
@pytest.mark.parametrize("name", FORMATS)
def test_a_frontier_has_multiples_alone_and_says_which(name, shape, dense):
    format = CP(sweeps=1) if name == "cp" else FORMATS[name]
    analysis, site = format.analyse(weight_of(shape)), site_of(shape)
    plain, ones, fours = (
        analysis.frontier(site, dense=dense, **given) for given in ({}, {"multiple_of": 1}, {"multiple_of": 4})
    )
    for field in ("ranks", "num_params", "macs", "squared_error"):
        assert torch.equal(getattr(plain, field), getattr(ones, field)), "without the option nothing changes"
    assert fours.multiple_of == 4
    highs = [high for _, high in plain.allowed]
    assert fours.allowed == tuple((4, high - high % 4) if high >= 4 else (high, high) for high in highs)
    ranks = fours.ranks[: len(fours) - dense]
    # Where no mode has more than one multiple, or a mode a single rank, nothing of so small a weight pays.
    assert len(ranks) or (dense and min(highs) <= 4)
    for rank in ranks.tolist():
        assert all(mode % 4 == 0 or mode == high < 4 for mode, high in zip(rank, highs, strict=True))
        assert fours.allows(rank)
        analysis.decompose(as_rank(rank))
    assert not fours.allows([3] * len(highs)) or max(highs) == 3
    assert len(analysis.frontier(site, min_rank=10**6, multiple_of=4)) == 1


def test_the_best_multiples_are_there_though_other_pairs_beat_them():
    """Tucker-2 against all pairs of multiples: few of them are on the frontier of all pairs."""
    weight, site = weight_of((16, 12, 3, 3)), site_of((16, 12, 3, 3))
    analysis = Tucker2(max_sweeps=0).analyse(weight)
    every, fours = analysis.frontier(site), analysis.frontier(site, multiple_of=4)
    found = {fours.rank(k): float(fours.squared_error[k]) for k in range(len(fours) - 1)}
    assert not set(found) <= {every.rank(k) for k in range(len(every))}
    params = {fours.rank(k): int(fours.num_params[k]) for k in range(len(fours) - 1)}
    for pair in [(a, b) for a in (4, 8, 12, 16) for b in (4, 8, 12)]:
        factors = analysis.decompose(pair)
        error = float((weight - factors.to_tensor()).square().sum())
        size = factors.num_params + site.num_bias
        if size < site.num_params:
            assert any(params[rank] <= size and found[rank] <= error * (1 + 1e-9) + 1e-12 for rank in found), pair


@pytest.mark.parametrize("format", [SVD(), Tucker2(), TT(2)], ids=str)
@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_rule_chooses_multiples(path, format):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 24, 3), nn.ReLU(), nn.Conv2d(24, 32, 3), nn.Flatten(), nn.Linear(512, 40))
    given = yaml.safe_load(path.read_text())
    assert given["multiple_of"] == 1, "the file lists the option"
    given |= {"multiple_of": 8} | {"budget": {"share": 0.5}, "latency": {"share": 1.0}}.get(path.stem, {})
    rule = instantiate(given, _convert_="all")
    arguments = {"rule": rule, "example_input": torch.randn(1, 3, 8, 8), "evaluate": lambda model: 50.0}
    if path.stem == "vbmf" and isinstance(format, TT):
        with pytest.raises(ValueError, match="vbmf reads the singular values"):
            compress(network, format, **arguments)
        return
    _, report = compress(network, format, **arguments)
    sides = {3, 24, 32, 512, 40}
    for layer in report.layers:
        modes = layer.rank if isinstance(layer.rank, tuple) else (layer.rank or 0,)
        assert all(mode % 8 == 0 or mode in sides or (isinstance(format, TT) and mode < 8) for mode in modes), layer
    if path.stem in ("fixed", "budget"):
        assert any(layer.rank is not None for layer in report.layers)


def test_a_budget_is_met_by_multiples_with_the_least_error():
    network, x = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)), torch.randn(1, 64)
    _, report = compress(network, SVD(), rule=Budget(0.6, multiple_of=8), example_input=x)
    ranks = [layer.rank for layer in report.layers]
    assert sorted(ranks) == [16, 16], "18 would fit each"
    assert report.num_params <= 0.6 * report.dense_params


def test_a_fixed_rank_is_rounded_down_and_a_list_is_taken_as_it_is():
    frontiers = {
        name: SVD().analyse(weight_of(shape)).frontier(site_of(shape), multiple_of=8, dense=False)
        for name, shape in {"a": (20, 24), "b": (5, 30)}.items()
    }
    choice = Fixed(13, multiple_of=8)(RankProblem(frontiers, 1.0))
    assert choice.ranks == {"a": 8, "b": 5}, "b has no larger rank than 5"
    assert "to a multiple of 8 below it: a to 8, b to 5" in choice.reason
    with pytest.raises(ValueError, match="layer a takes a rank from 8 to 16 in multiples of 8, got 3"):
        Fixed({"a": 3}, multiple_of=8)(RankProblem(frontiers, 1.0))
    with pytest.raises(ValueError, match=r"multiples of 8, got \[13\]"):
        Fixed({"a": [13]}, multiple_of=8)(RankProblem(frontiers, 1.0))


def test_vbmf_loses_nothing_that_stands_out():
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(40, 11, generator=generator, dtype=torch.float64) for _ in range(2))
    weight = left @ right.T + 0.01 * torch.randn(40, 40, generator=generator, dtype=torch.float64)
    analysis, site = SVD().analyse(weight), site_of((40, 40))
    ranks = [VBMF(multiple_of=m)(RankProblem({"a": analysis.frontier(site, multiple_of=m)}, 1.0)) for m in (1, 8)]
    assert [choice.ranks["a"] for choice in ranks] == [11, 16]


def test_metrics_keep_to_multiples():
    weight, generator = weight_of((16, 24)), torch.Generator().manual_seed(0)
    rows = torch.randn(60, 24, generator=generator, dtype=torch.float64)
    metric = SiteMetric(into=(rows.T @ rows,))
    for format in (SVD(), TT(2)):  # mapped back, and measured in a metric that is no product
        frontier = analyse_in(format, weight, metric).frontier(site_of((16, 24)), multiple_of=4)
        assert frontier.multiple_of == 4
        assert len(frontier) > 1
        assert all(frontier.allows(rank) for rank in frontier.ranks[:-1].tolist())


def test_a_format_without_the_argument_is_refused_by_name_and_serves_all_else():
    @dataclass(frozen=True)
    class Old:
        svd: object

        def frontier(self, site, min_rank=1, *, dense=True):
            return self.svd.frontier(site, min_rank, dense=dense)

        def decompose(self, rank):
            return self.svd.decompose(rank)

    @dataclass(frozen=True)
    class OldSVD(SVD):
        def analyse(self, weight):
            return Old(super().analyse(weight))

    network, x = nn.Sequential(nn.Linear(32, 32)), torch.randn(1, 32)
    assert compress(network, OldSVD(), budget=0.5, example_input=x)[1].layers[0].rank == 7
    with pytest.raises(ValueError, match=r"multiple_of=8: the frontier of Old takes no argument multiple_of"):
        compress(network, OldSVD(), rule=Budget(0.7, multiple_of=8), example_input=x)
    with pytest.raises(ValueError, match="multiple_of: expected an int of at least 1, got 0"):
        compress(network, SVD(), rule=replace(Budget(0.7), multiple_of=0), example_input=x)
