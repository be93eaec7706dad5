"""Repairs without training: biases, batch norms, outputs as targets, and the scales that batch norms apply."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from decompositions import compress
from decompositions.core.metric import SiteMetric
from decompositions.core.site import survey
from decompositions.core.whitening import analyse_in
from decompositions.metrics.batch_norm import BatchNorm
from decompositions.metrics.gram import Gram
from decompositions.metrics.input_means import input_means
from decompositions.metrics.output_targets import RIDGE, called_in_order, with_outputs_as_targets
from decompositions.metrics.recovery import biases_for, reestimate_norms
from decompositions.network.structure import replace_layers
from decompositions.svd import SVD
from decompositions.tt import TT


def alone(sums):
    return sums


def network_and_data():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 12), nn.ReLU(),
        nn.Linear(12, 4),
    ]  # fmt: skip
    network = nn.Sequential(*layers).double()
    x = torch.randn(60, 2, 6, 6, dtype=torch.double).relu() + 0.3
    network.train()(x)
    return network.eval(), survey(network, (2, 6, 6)).sites, list(x.split(20)), x


def test_a_corrected_bias_keeps_the_mean_output():
    network, sites, batches, x = network_and_data()
    factors = {"4": SVD().analyse(sites["4"].weight).decompose(2)}
    means = input_means(network, {"4": sites["4"]}, batches, 60, alone)
    biases = biases_for(sites, {"4": factors["4"].to_tensor()}, means)
    mean = network[:5](x).mean(0)
    plain, corrected = (replace_layers(network, SVD(), factors, b)[:5](x).mean(0) for b in ({}, biases))
    assert torch.allclose(corrected, mean, atol=1e-12)
    assert not torch.allclose(plain, mean, atol=1e-3)


def test_batch_norms_get_the_statistics_of_their_inputs():
    network, _, batches, x = network_and_data()
    with torch.no_grad():
        network[0].weight.mul_(3)
    network[1].momentum = 0.3
    assert reestimate_norms(network, batches, 60, alone) == 1
    with torch.no_grad():
        outputs = network[0](x)
        each = [network[0](part) for part in batches]
    assert torch.allclose(network[1].running_mean, outputs.mean((0, 2, 3)))
    variances = torch.stack([part.var((0, 2, 3)) for part in each]).mean(0)
    assert torch.allclose(network[1].running_var, variances)
    assert network[1].momentum == 0.3
    assert not network.training and not network[1].training


def test_two_processes_agree_on_the_statistics():
    network, _, batches, _ = network_and_data()
    halves = [copy.deepcopy(network) for _ in range(2)]
    reestimate_norms(halves[0], batches[:1], 20, alone)
    first = halves[0][1]
    # What the other process gives: that it is one, its mean, and its mean square.
    others = iter([torch.tensor(1.0), first.running_mean, first.running_var + first.running_mean.square()])
    reestimate_norms(halves[1], batches[1:2], 20, lambda sums: sums + next(others))
    with torch.no_grad():
        each = [network[0](part) for part in batches[:2]]
    means = torch.stack([part.mean((0, 2, 3)) for part in each])
    squares = torch.stack([part.var((0, 2, 3)) for part in each]) + means.square()
    assert torch.allclose(halves[1][1].running_mean, means.mean(0))
    assert torch.allclose(halves[1][1].running_var, squares.mean(0) - means.mean(0).square())


@pytest.mark.parametrize("name", ["4", "6"])
def test_at_full_rank_outputs_are_met_as_least_squares_meet_them(name):
    """A layer behind a crude one: no weight gives the dense outputs, and ridge regression by least squares is best."""
    network, sites, batches, x = network_and_data()
    ranks = {"0": 2, name: 12 if name == "4" else 4}
    factors, biases = with_outputs_as_targets(network, sites, SVD(), ranks, batches, 60, alone)
    compressed = replace_layers(network, SVD(), factors, biases)
    with torch.no_grad():
        dense, inputs, weight = network[: int(name) + 1](x), compressed[: int(name)](x), network[int(name)].weight
        centred = inputs - inputs.mean(0)
        root = (RIDGE * centred.square().sum() / inputs.shape[1]).sqrt()
        rows = torch.cat([centred, root * torch.eye(inputs.shape[1]).double()])
        best = torch.linalg.lstsq(rows, torch.cat([dense - dense.mean(0), root * weight.T]), driver="gelsd").solution
        expected = centred @ best + dense.mean(0)
        assert torch.allclose(compressed[: int(name) + 1](x), expected, atol=1e-9)


def test_inputs_that_hardly_vary_do_not_blow_factors_up():
    """Noise divided by an eigenvalue of nearly zero gave factors that no learning rate can train."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 8)).double().eval()
    x = torch.randn(200, 20).double() * torch.logspace(0, -5, 20).double()
    sites, ranks = survey(network, (20,)).sites, {"0": 2, "2": 3}
    factors, _ = with_outputs_as_targets(network, sites, SVD(), ranks, [x], 200, alone)
    for name, each in factors.items():
        assert each.to_tensor().norm() < 2 * network[int(name)].weight.norm()


def test_outputs_as_targets_beat_the_gram_metric_behind_compressed_layers():
    network, sites, batches, x = network_and_data()
    ranks = {"0": 2, "4": 3, "6": 3}
    factors, biases = with_outputs_as_targets(network, sites, SVD(), ranks, batches, 60, alone)
    ours = replace_layers(network, SVD(), factors, biases)
    symmetric, _ = compress(network, SVD(), ranks=ranks, example_input=x[:1], metric=Gram(), calibration=batches)
    errors = [float((each(x) - network(x)).square().sum()) for each in (ours, symmetric)]
    assert errors[0] < 0.9 * errors[1]


def test_outputs_are_targets_for_trains_too():
    network, sites, batches, x = network_and_data()
    factors, biases = with_outputs_as_targets(network, sites, TT(2), {"4": 4}, batches, 60, alone)
    plain = TT(2).analyse(sites["4"].weight).decompose(4)
    ours, other = (replace_layers(network, TT(2), f, b) for f, b in ((factors, biases), ({"4": plain}, {})))
    errors = [float((each(x) - network(x)).square().sum()) for each in (ours, other)]
    assert errors[0] < errors[1]


def test_inputs_that_are_changed_in_place_are_targets_as_they_were():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch = nn.Linear(5, 4, bias=False)

        def forward(self, x):
            h = x * 1.0
            y = self.branch(h)
            return y + h.relu_()[:, :4]

    torch.manual_seed(0)
    network = InPlace().double().eval()
    sites, batches = survey(network, (5,)).sites, [torch.randn(40, 5, dtype=torch.double)]
    factors, _ = with_outputs_as_targets(network, sites, SVD(), {"branch": 4}, batches, 40, alone)
    assert torch.allclose(factors["branch"].to_tensor(), network.branch.weight, atol=1e-8)


def test_layers_are_taken_in_the_order_of_their_calls():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(3, 2), nn.Linear(4, 3)

        def forward(self, x):
            return self.last(self.first(x))

    network = Backwards()
    sites = survey(network, (4,)).sites
    assert [*sites] == ["last", "first"]
    assert called_in_order(network, sites, [torch.zeros(1, 4)]) == ["first", "last"]


def test_the_batch_norm_metric_is_the_error_of_the_folded_weight():
    network, sites, _, x = network_and_data()
    with torch.no_grad():
        network[1].weight.copy_(torch.linspace(0.1, 2, 6))
    found = BatchNorm().measure(network, sites, [x[:1]])
    assert set(found) == {"0"}, "no norm stands behind the linear layers"
    norm = network[1]
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded = sites["0"].weight.flatten(1) * scale[:, None]
    frontier = analyse_in(SVD(), sites["0"].weight, found["0"]).frontier(sites["0"], dense=False)
    values = torch.linalg.svdvals(folded.detach())
    assert float(frontier.squared_error[0]) == pytest.approx(float(values[1:].square().sum()), rel=1e-9)
    small, _ = compress(network, SVD(), ranks={"0": 2}, example_input=x[:1], metric=BatchNorm())
    compressed = small[0].to_dense().weight.flatten(1) * scale[:, None]
    assert float((compressed - folded).square().sum()) == pytest.approx(float(values[2:].square().sum()), rel=1e-9)


def test_the_identity_of_a_metric_without_moments():
    weight = torch.randn(5, 4, dtype=torch.double)
    assert SiteMetric().squared_error(weight) == pytest.approx(float(weight.square().sum()))
