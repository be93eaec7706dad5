"""Sums over inputs: whole or in two factors, in one pass or several, of one process or two."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decompositions.core.site import survey
from decompositions.metrics.activation import Activation
from decompositions.metrics.covariance import Covariance
from decompositions.metrics.fisher import Fisher
from decompositions.metrics.gram import Gram
from decompositions.metrics.kfac import KFAC
from decompositions.metrics.layer import Layer
from decompositions.metrics.patches import patches


def network_and_data():
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 12), nn.ReLU(), nn.Linear(12, 4)]
    network = nn.Sequential(*layers).double()
    x = torch.randn(40, 2, 6, 6, dtype=torch.double) + 0.3
    return network, survey(network, (2, 6, 6)).sites, [(part, torch.arange(len(part)) % 4) for part in x.split(10)]


def inputs_of(network, batches, name: str) -> torch.Tensor:
    """The vectors that a layer gets, by running the layers before it."""
    x = torch.cat([x for x, _ in batches])
    return patches(network[int(name)], network[: int(name)](x))


@pytest.mark.parametrize(("name", "sides"), [("0", (2, 9)), ("3", (6, 16))])
@pytest.mark.parametrize("metric", [Gram, Covariance])
def test_a_large_layer_has_the_partial_traces_of_its_moment(name, sides, metric):
    """Of a convolution channels and kernel, of a linear layer those of the feature map that was flattened before it."""
    network, sites, batches = network_and_data()
    found = metric(max_side=max(sides)).measure(network, {name: sites[name]}, batches)[name]
    rows = inputs_of(network, batches, name)
    rows = rows - rows.mean(0) if metric is Covariance else rows
    whole = (rows.T @ rows / 40).reshape(*sides, *sides)
    by_trace = whole.flatten(0, 1).flatten(1).trace().sqrt()
    expected = torch.einsum("ikjk->ij", whole) / by_trace, torch.einsum("kikj->ij", whole) / by_trace
    assert [len(moment) for moment in found.into] == list(sides)
    for moment, wanted in zip(found.into, expected, strict=True):
        assert torch.allclose(moment, wanted)


def test_inputs_that_were_no_feature_map_have_the_sides_nearest_to_each_other():
    network, sites, batches = network_and_data()
    found = Gram(max_side=11).measure(network, {"5": sites["5"]}, batches)["5"]
    rows = inputs_of(network, batches, "5").reshape(-1, 4, 3)
    assert [len(moment) for moment in found.into] == [4, 3]
    wanted = torch.einsum("nik,njk->ij", rows, rows) / rows.square().sum()
    assert torch.allclose(found.into[0] / found.into[0].trace(), wanted)


def test_inputs_without_two_small_factors_are_refused():
    network, x = nn.Sequential(nn.Linear(13, 4)), torch.randn(5, 13)
    with pytest.raises(ValueError, match=r"layer 0 has 13 inputs, more than max_side=11, and the two factors 13 and 1"):
        Gram(max_side=11).measure(network, survey(network, (13,)).sites, [x])


def test_the_map_of_another_branch_is_not_taken():
    """Two maps have as many entries as the layer has inputs, and only one is flattened: neither is sure."""

    class TwoBranches(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.other = nn.Conv1d(2, 8, 1), nn.Conv1d(2, 4, 1)
            self.head = nn.Linear(24, 3)

        def forward(self, x):
            flat, other = self.used(x[..., :3]).flatten(1), self.other(x)
            return self.head(flat) + other.mean()

    network, x = TwoBranches(), torch.randn(5, 2, 6)
    sites = survey(network, (2, 6)).sites
    found = Gram(max_side=12).measure(network, {"head": sites["head"]}, [x])["head"]
    assert [len(moment) for moment in found.into] == [6, 4]


@pytest.mark.parametrize("metric", [Gram(), Covariance(), KFAC(), Fisher(), Layer(), Activation()], ids=str)
def test_two_processes_that_share_the_data_are_one(metric):
    """Each reads half of every batch; the sums of the other are what the first pass of the test noted."""
    network, sites, batches = network_and_data()
    whole = metric.measure(network, sites, batches)
    halves = [[(x[part], y[part]) for x, y in batches] for part in (slice(0, None, 2), slice(1, None, 2))]
    noted = []
    metric.measure(network, sites, halves[0], lambda sums: noted.append(sums.clone()) or sums)
    others = iter(noted)
    found = metric.measure(network, sites, halves[1], lambda sums: sums + next(others))
    for name in sites:
        both = [(*each[name].out, *each[name].into) for each in (whole, found)]
        for one, other in zip(*both, strict=True):
            assert torch.allclose(one, other, rtol=1e-10)


def test_no_more_samples_are_read_than_asked_for():
    network, sites, batches = network_and_data()
    first = Gram().measure(network, sites, batches[:2])
    limited = Gram(num_samples=11).measure(network, sites, iter(batches))  # whole batches: twenty
    assert torch.equal(first["0"].into[0], limited["0"].into[0])
    with pytest.raises(ValueError, match="expected at least one batch of calibration data, got none"):
        Gram().measure(network, sites, [])


def test_parts_of_a_batch_are_the_whole(monkeypatch):
    from decompositions.metrics import patches as module

    network, sites, batches = network_and_data()
    whole = Gram().measure(network, sites, batches)
    monkeypatch.setattr(module, "CHUNK", 1)  # one sample at a time
    parts = Gram().measure(network, sites, batches)
    assert all(torch.allclose(whole[name].into[0], parts[name].into[0], rtol=1e-12) for name in sites)


def test_shrinkage_keeps_the_trace_and_lifts_the_smallest_eigenvalue():
    network, sites, batches = network_and_data()
    plain, shrunk = (Gram(shrinkage=rho).measure(network, sites, batches[:1])["3"].into[0] for rho in (0.0, 0.2))
    assert float(plain.trace()) == pytest.approx(float(shrunk.trace()))
    least = float(torch.linalg.eigvalsh(shrunk)[0])
    assert least == pytest.approx(0.2 * float(plain.trace()) / 96, rel=1e-6)
